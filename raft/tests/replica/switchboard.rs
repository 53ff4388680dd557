//! A network in memory, between nodes on one runtime whose time a test owns. Each direction between
//! two nodes can be broken on its own.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
};

use raft::{Connection, Listener, Net, net::BoxFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::{mpsc, watch},
};

/// What a connection holds that nobody has read, bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// What becomes of what one node sends to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Link {
    /// It arrives at once.
    #[default]
    Up,
    /// It waits, as before a process that hangs; its machine takes connections all the same.
    Held,
    /// It waits, connections as well, as where a cable is out.
    Cut,
    /// Connections are reset and refused, as by a machine on which nobody listens.
    Refused,
}

/// The network of some nodes; a node is known by where it listens.
#[derive(Debug, Clone)]
pub(crate) struct Switchboard {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
    /// How often anything was sent.
    sends: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<(SocketAddr, SocketAddr), Link>,
    listeners: BTreeMap<SocketAddr, mpsc::UnboundedSender<(DuplexStream, SocketAddr)>>,
}

impl Default for Switchboard {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            changed: watch::Sender::new(()),
            sends: watch::Sender::new(0),
        }
    }
}

impl Switchboard {
    /// The network as one node sees it.
    pub(crate) fn net(&self, node: SocketAddr) -> Arc<dyn Net> {
        Arc::new(Port { node, switchboard: self.clone() })
    }

    /// Changes what becomes of what `from` sends to `to`.
    pub(crate) fn set(&self, from: SocketAddr, to: SocketAddr, link: Link) {
        self.state().links.insert((from, to), link);
        self.changed.send_replace(());
    }

    /// How often nodes have sent anything over connections that they dialled.
    pub(crate) fn sends(&self) -> watch::Receiver<u64> {
        self.sends.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn link(&self, from: SocketAddr, to: SocketAddr) -> Link {
        self.state().links.get(&(from, to)).copied().unwrap_or_default()
    }

    async fn changed(self) {
        let _ = self.changed.subscribe().changed().await;
    }
}

/// A node's place on the network.
#[derive(Debug)]
struct Port {
    node: SocketAddr,
    switchboard: Switchboard,
}

impl Net for Port {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let (node, to) = (self.node, address.parse().unwrap());
            loop {
                let changed = self.switchboard.clone().changed();
                let links = [(node, to), (to, node)].map(|(a, b)| self.switchboard.link(a, b));
                if links.contains(&Link::Refused) {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                if !links.contains(&Link::Cut) {
                    break;
                }
                changed.await;
            }
            let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
            let listener = self.switchboard.state().listeners.get(&to).cloned();
            let taken = listener.and_then(|listener| listener.send((theirs, node)).ok());
            taken.ok_or(io::ErrorKind::ConnectionRefused)?;
            let switchboard = self.switchboard.clone();
            let [sends, receives] =
                [(node, to), (to, node)].map(|ends| Gate::new(switchboard.clone(), ends));
            Ok(Box::new(Cable { inner: ours, sends, receives }) as Box<dyn Connection>)
        })
    }

    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        let (sender, connections) = mpsc::unbounded_channel();
        self.switchboard.state().listeners.insert(address, sender);
        let connections = tokio::sync::Mutex::new(connections);
        Box::pin(async move {
            Ok(Box::new(MemoryListener { address, connections }) as Box<dyn Listener>)
        })
    }
}

struct MemoryListener {
    address: SocketAddr,
    connections: tokio::sync::Mutex<mpsc::UnboundedReceiver<(DuplexStream, SocketAddr)>>,
}

impl Listener for MemoryListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
        Box::pin(async move {
            let next = self.connections.lock().await.recv().await;
            let (stream, from) = next.ok_or(io::ErrorKind::AddrNotAvailable)?;
            Ok((Box::new(stream) as Box<dyn Connection>, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// One direction of a connection, at the end that dialled: all that a pair exchanges passes there.
struct Gate {
    switchboard: Switchboard,
    ends: (SocketAddr, SocketAddr),
    changed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Gate {
    fn new(switchboard: Switchboard, ends: (SocketAddr, SocketAddr)) -> Self {
        let changed = Box::pin(switchboard.clone().changed());
        Self { switchboard, ends, changed }
    }

    /// Ready when something passes, or never will again.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let is_changed = self.changed.as_mut().poll(context).is_ready();
            if is_changed {
                self.changed = Box::pin(self.switchboard.clone().changed());
                continue;
            }
            let (from, to) = self.ends;
            return match self.switchboard.link(from, to) {
                Link::Up => Poll::Ready(Ok(())),
                Link::Refused => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Link::Held | Link::Cut => Poll::Pending,
            };
        }
    }
}

/// The end of a connection that dialled it.
struct Cable {
    inner: DuplexStream,
    sends: Gate,
    receives: Gate,
}

impl AsyncRead for Cable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.receives.poll_open(context))?;
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.sends.poll_open(context))?;
        self.sends.switchboard.sends.send_modify(|sends| *sends += 1);
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
