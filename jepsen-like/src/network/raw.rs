//! Sends datagrams in anybody's name.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use super::Datagram;
use crate::exit::Failure;

/// A raw socket of the hub, from which a datagram goes out under whatever sender it names.
pub(crate) struct RawSocket(OwnedFd);

impl RawSocket {
    pub(crate) fn open() -> Result<Self, Failure> {
        socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))
            .map(Self)
            .map_err(|error| Failure::harness("a raw socket")(error.into()))
    }

    /// Whether the kernel took it.
    pub(crate) fn send(&self, datagram: &Datagram) -> bool {
        sendto(&self.0, &datagram.packet(), SendFlags::empty(), &datagram.to).is_ok()
    }
}
