//! A network cable that a test pulls: while it is out, nothing comes, nothing goes, nothing fails.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
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
pub(crate) struct CutNet(Arc<AtomicBool>);

impl CutNet {
    /// Pulls the cable out, or puts it in.
    pub(crate) fn set_cut(&self, is_cut: bool) {
        self.0.store(is_cut, Ordering::SeqCst);
    }

    fn wrap(&self, inner: Box<dyn Connection>) -> Box<dyn Connection> {
        Box::new(Cable { inner, cut: self.0.clone(), retry: Box::pin(sleep(Duration::ZERO)) })
    }

    async fn whole(&self) {
        while self.0.load(Ordering::SeqCst) {
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
    cut: Arc<AtomicBool>,
    retry: Pin<Box<Sleep>>,
}

impl Cable {
    /// Ready when the cable is in; else looks again in a moment.
    fn poll_whole(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.cut.load(Ordering::SeqCst) {
            let again = tokio::time::Instant::now() + Duration::from_millis(2);
            self.retry.as_mut().reset(again);
            if self.retry.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Cable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_whole(context));
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_whole(context));
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
