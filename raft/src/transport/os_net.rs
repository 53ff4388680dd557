//! The network of the operating system.

use std::{any::Any, io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::{Connection, Listener, Net, net::BoxFuture};

/// TCP. Small frames leave at once (`TCP_NODELAY`), and a port that a former process held can be
/// bound again at once (`SO_REUSEADDR`).
#[derive(Debug, Clone, Copy, Default)]
pub struct OsNet;

const BACKLOG: u32 = 1024;

impl Net for OsNet {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            // A loopback connect to a port that nobody listens on, from that very port, succeeds.
            if stream.local_addr()? == stream.peer_addr()? {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Ok(Box::new(stream) as Box<dyn Connection>)
        })
    }

    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(Box::new(OsListener(socket.listen(BACKLOG)?)) as Box<dyn Listener>)
        })
    }

    fn adopt(&self, connection: Box<dyn Connection>) -> io::Result<Box<dyn Connection>> {
        let connection: Box<dyn Any> = connection;
        let stream = connection.downcast::<TcpStream>().expect("every connection of ours is one");
        Ok(Box::new(TcpStream::from_std(stream.into_std()?)?))
    }
}

#[derive(Debug)]
struct OsListener(TcpListener);

impl Listener for OsListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, address) = self.0.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as Box<dyn Connection>, address))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
