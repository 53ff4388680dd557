//! The network as the transport sees it, so that simulation can put its own in place.

use std::{any::Any, fmt, future::Future, io, net::SocketAddr, pin::Pin};

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream in both directions.
pub trait Connection: AsyncRead + AsyncWrite + Any + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Any + Send + Unpin> Connection for T {}

/// A boxed future, as the object-safe methods below return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens and accepts connections.
pub trait Net: fmt::Debug + Send + Sync + 'static {
    /// Connects to `address` (`host:port`). No deadline of its own: the caller sets one.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>>;
    /// Listens on `address`.
    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;
    /// Moves a connection of this network to the runtime that this is called on: a socket becomes
    /// ready by the threads of the runtime it belongs to, however busy those are. As it is where
    /// there is only one runtime.
    ///
    /// # Errors
    /// When the runtime does not take it; it is closed then.
    fn adopt(&self, connection: Box<dyn Connection>) -> io::Result<Box<dyn Connection>> {
        Ok(connection)
    }
}

/// A bound socket.
pub trait Listener: Send + Sync {
    /// The next connection and where it came from.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>>;
    /// The address it is bound to.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}
