//! A network cable that a test pulls: while it is out, nothing comes, nothing goes, nothing fails.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use raft::{Connection, Listener, Net, OsNet, net::BoxFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// One node's cable.
#[derive(Debug, Clone, Default)]
pub(crate) struct CutNet {
    is_cut: Arc<AtomicBool>,
    resets: Arc<AtomicU64>,
}

impl CutNet {
    /// Pulls the cable out, or puts it in.
    pub(crate) fn set_cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// Breaks every connection that is open now.
    pub(crate) fn reset(&self) {
        self.resets.fetch_add(1, Ordering::SeqCst);
    }

    fn wrap(&self, inner: Box<dyn Connection>) -> Box<dyn Connection> {
        let (net, resets) = (self.clone(), self.resets.load(Ordering::SeqCst));
        Box::new(Cable { inner, net, resets, retry: Box::pin(sleep(Duration::ZERO)) })
    }

    async fn whole(&self) {
        while self.is_cut.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Net for CutNet {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            self.whole().await;
            Ok(self.wrap(OsNet.connect(address).await?))
        })
    }

    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let inner = OsNet.listen(address).await?;
            Ok(Box::new(CutListener { inner, net: self.clone() }) as Box<dyn Listener>)
        })
    }
}

struct CutListener {
    inner: Box<dyn Listener>,
    net: CutNet,
}

impl Listener for CutListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
        Box::pin(async move {
            let (connection, address) = self.inner.accept().await?;
            Ok((self.net.wrap(connection), address))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

struct Cable {
    inner: Box<dyn Connection>,
    net: CutNet,
    /// How often the net had been reset when this was opened.
    resets: u64,
    retry: Pin<Box<Sleep>>,
}

impl Cable {
    /// Ready when the cable is in; else looks again in a moment.
    fn poll_whole(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.net.resets.load(Ordering::SeqCst) != self.resets {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if !self.net.is_cut.load(Ordering::SeqCst) {
                return Poll::Ready(Ok(()));
            }
            let again = tokio::time::Instant::now() + Duration::from_millis(2);
            self.retry.as_mut().reset(again);
            std::task::ready!(self.retry.as_mut().poll(context));
        }
    }
}

impl AsyncRead for Cable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_whole(context))?;
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_whole(context))?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
