//! Listens to what the hub forwards: a packet socket sees every IPv4 packet that comes into it.

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv4Addr,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::net::{AddressFamily, RecvFlags, SocketType, eth, recv, socket, sockopt};

use super::Datagram;
use crate::exit::Failure;

/// So many datagrams of each sender are kept: the latest.
const KEPT: usize = 512;
/// Whether it is over is looked at this often, when nothing comes.
const WAIT: Duration = Duration::from_millis(100);

type Kept = BTreeMap<Ipv4Addr, VecDeque<Datagram>>;

/// A running tap, which keeps what is sent to one UDP port.
pub(crate) struct Tap {
    is_over: Arc<AtomicBool>,
    kept: Arc<Mutex<Kept>>,
    thread: Option<JoinHandle<()>>,
}

impl Tap {
    /// Starts one in this process's network namespace.
    pub(crate) fn start(port: u16) -> Result<Self, Failure> {
        let failed = |error: rustix::io::Errno| Failure::harness("a packet socket")(error.into());
        // What it sends itself it does not see: a socket for one protocol sees what comes in.
        let socket =
            socket(AddressFamily::PACKET, SocketType::DGRAM, Some(eth::IP)).map_err(failed)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(WAIT)).map_err(failed)?;
        let (is_over, kept) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Kept>>::default());
        let thread = {
            let (is_over, kept) = (Arc::clone(&is_over), Arc::clone(&kept));
            std::thread::Builder::new()
                .name("tap".to_owned())
                .spawn(move || listen(&socket, port, &is_over, &kept))
                .map_err(Failure::harness("starting the tap"))?
        };
        Ok(Self { is_over, kept, thread: Some(thread) })
    }

    /// The latest datagrams of a sender.
    pub(crate) fn of(&self, sender: Ipv4Addr) -> Vec<Datagram> {
        let kept = self.kept.lock().expect("the tap does not panic under this lock");
        kept.get(&sender).into_iter().flatten().cloned().collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn listen(socket: &OwnedFd, port: u16, is_over: &AtomicBool, kept: &Mutex<Kept>) {
    let mut buffer = vec![0; 65_536];
    while !is_over.load(Ordering::Relaxed) {
        // Nothing came in time, or a signal did.
        let Ok((length, _)) = recv(socket, &mut buffer[..], RecvFlags::empty()) else { continue };
        let Some(datagram) = Datagram::parse(&buffer[..length]) else { continue };
        if datagram.to.port() == port {
            let mut kept = kept.lock().expect("nobody panics under this lock");
            let of_sender = kept.entry(*datagram.from.ip()).or_default();
            if of_sender.len() == KEPT {
                of_sender.pop_front();
            }
            of_sender.push_back(datagram);
        }
    }
}
