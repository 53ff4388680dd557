//! Sockets and names, as a member needs them; simulations bring their own.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{io::ReadBuf, net::UdpSocket};

/// Where sockets come from.
pub trait Datagrams: Send + Sync + 'static {
    /// A socket that receives at `listen`.
    fn bind(&self, listen: SocketAddr) -> io::Result<Arc<dyn DatagramSocket>>;

    /// The addresses of `host:port`; the caller sets the deadline.
    fn resolve(&self, host_and_port: String) -> Resolved;
}

/// The addresses of a host, in time.
pub type Resolved = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// A bound socket. It loses, repeats and reorders datagrams as UDP does.
pub trait DatagramSocket: Send + Sync + 'static {
    /// The address that it is bound to.
    fn local_address(&self) -> io::Result<SocketAddr>;

    /// Takes the next datagram into `buffer`; what does not fit is cut off.
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// Sends without waiting. An error means that nothing was sent.
    fn try_send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()>;
}

/// The operating system's sockets and resolver, on the current tokio runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDatagrams;

impl Datagrams for OsDatagrams {
    fn bind(&self, listen: SocketAddr) -> io::Result<Arc<dyn DatagramSocket>> {
        let socket = std::net::UdpSocket::bind(listen)?;
        socket.set_nonblocking(true)?;
        Ok(Arc::new(UdpSocket::from_std(socket)?))
    }

    fn resolve(&self, host_and_port: String) -> Resolved {
        Box::pin(async move { Ok(tokio::net::lookup_host(host_and_port).await?.collect()) })
    }
}

impl DatagramSocket for UdpSocket {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut into = ReadBuf::new(buffer);
        let from = ready!(self.poll_recv_from(context, &mut into))?;
        Poll::Ready(Ok((into.filled().len(), from)))
    }

    fn try_send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.try_send_to(datagram, to).map(|_| ())
    }
}
