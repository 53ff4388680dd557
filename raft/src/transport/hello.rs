//! The first exchange on every connection: both sides learn whom they speak to before a byte of
//! theirs counts.
//!
//! ```text
//!  dials                                   listens
//!    │ Hello: magic, version, cluster,       │
//!    │   group, cluster id, from, to, channel│
//!    ├──────────────────────────────────────▶│ is it us? is it one of ours?
//!    │       HelloReply: Welcome | Refusal   │
//!    │◀──────────────────────────────────────┤
//!
//!  body of Hello: ┌──────────┬─────────────┬─────────────────┐
//!                 │ magic 8  │ version u16 │ Hello, bincode  │
//!                 └──────────┴─────────────┴─────────────────┘
//! ```
//!
//! A recycled address therefore cannot answer for another node, and two clusters that were given
//! each other's addresses stay apart. This is no authentication: whoever can connect and knows the
//! cluster's name is believed.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use serde::{Deserialize, Serialize};

use crate::{Peer, PeerId, codec};

/// "This is the Raft port of Quorate", and a byte that text protocols do not send.
pub(crate) const MAGIC: [u8; 8] = *b"QRAFT\0\xff\n";
/// The version of everything behind the hello.
pub(crate) const VERSION: u16 = 1;
/// A hello is small; a stranger may make us hold this much and no more.
pub(crate) const HELLO_BYTES_MAX: u64 = 4 << 10;
/// How long a stranger may take for its hello.
pub(crate) const HELLO_DEADLINE: Duration = Duration::from_secs(2);

/// What a connection is for. Each has its own, so that none waits behind another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Channel {
    /// Nodes without a cluster find each other.
    Bootstrap,
    /// Votes and transfers of leadership.
    Control,
    /// Requests of whoever opened the replica.
    Calls,
    /// Log entries, pipelined.
    Append,
    /// Heartbeats, which must not wait behind log entries.
    Heartbeat,
    /// Snapshots.
    Snapshot,
    /// Signs of life between voters.
    Lifeline,
}

/// Who dials, whom it wants, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The Raft group; there is one as yet.
    pub(crate) group: u64,
    /// The minted id of the cluster; 0 while the dialler is in none.
    pub(crate) cluster_id: u64,
    /// Who dials.
    pub(crate) from: Peer,
    /// Whom it believes to dial: the id, or 0 when it knows only the address.
    pub(crate) to: PeerId,
    /// The label of whom it believes to dial, or empty.
    pub(crate) to_label: String,
    /// What for.
    pub(crate) channel: Channel,
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// Who was dialled.
    pub(crate) me: Peer,
    /// Its cluster's minted id; 0 while it is in none.
    pub(crate) cluster_id: u64,
}

/// Why a connection is not wanted. The listener closes it after saying so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it speaks version {ours} of the protocol, not {yours}")]
    Version { ours: u16, yours: u16 },
    #[error("it belongs to cluster {ours:?}")]
    Cluster { ours: String },
    #[error("it belongs to group {ours}")]
    Group { ours: u64 },
    #[error("it belongs to another cluster of the same name, {ours:016x}")]
    ClusterId { ours: u64 },
    #[error("it is {id:016x} ({label}), not the node that was dialled")]
    AnotherNode { id: PeerId, label: String },
    #[error("it is in no cluster, and was promised to none with this peer")]
    Fresh,
    #[error("it keeps no lifelines")]
    NoLifeline,
}

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HelloReply {
    Welcome(Welcome),
    Refused(Refusal),
}

/// Why the first frame of a connection was no hello of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("this is no Raft peer")]
    NotRaft,
    #[error("version {0} of the protocol is not spoken here")]
    Version(u16),
    #[error(transparent)]
    Decode(#[from] codec::DecodeError),
}

impl Hello {
    /// The body of the hello frame.
    pub(crate) fn to_body(&self) -> Bytes {
        let mut body = Vec::with_capacity(128);
        body.put_slice(&MAGIC);
        body.put_u16_le(VERSION);
        body.extend_from_slice(&codec::encode(self));
        body.into()
    }

    /// Reads a hello; the magic and the version are judged before anything behind them is read.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self, HelloError> {
        let rest = body.strip_prefix(&MAGIC).ok_or(HelloError::NotRaft)?;
        let (version, rest) = rest.split_first_chunk::<2>().ok_or(HelloError::NotRaft)?;
        match u16::from_le_bytes(*version) {
            VERSION => Ok(codec::decode(rest)?),
            other => Err(HelloError::Version(other)),
        }
    }

    /// The part of the judgement that needs no knowledge of the bootstrap: right cluster, right
    /// group, right node.
    pub(crate) fn is_for(&self, cluster: &str, group: u64, me: &Peer) -> Result<(), Refusal> {
        if self.cluster != cluster {
            return Err(Refusal::Cluster { ours: cluster.to_owned() });
        }
        if self.group != group {
            return Err(Refusal::Group { ours: group });
        }
        let wants_id = self.to != 0 && self.to != me.id;
        let wants_label = !self.to_label.is_empty() && self.to_label != me.label;
        if wants_id || wants_label {
            return Err(Refusal::AnotherNode { id: me.id, label: me.label.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        let from = Peer { id: 1, label: "a".to_owned(), address: "h:1".to_owned() };
        Hello {
            cluster: "c".to_owned(),
            group: 0,
            cluster_id: 9,
            from,
            to: 2,
            to_label: "b".to_owned(),
            channel: Channel::Calls,
        }
    }

    #[test]
    fn a_hello_begins_with_its_magic_and_version() {
        let body = hello().to_body();
        assert_eq!(&body[..10], b"QRAFT\0\xff\n\x01\0");
        assert_eq!(Hello::from_body(&body), Ok(hello()));
    }

    #[test]
    fn another_version_is_named_before_its_hello_is_read() {
        let mut body = hello().to_body().to_vec();
        body[8] = 7;
        body.truncate(10);
        assert_eq!(Hello::from_body(&body), Err(HelloError::Version(7)));
    }

    #[test]
    fn what_is_no_hello_is_refused() {
        let body = hello().to_body();
        assert_eq!(Hello::from_body(b"GET / HTTP/1.1"), Err(HelloError::NotRaft));
        assert_eq!(Hello::from_body(&body[..9]), Err(HelloError::NotRaft));
        assert!(matches!(Hello::from_body(&body[..20]), Err(HelloError::Decode(_))));
    }

    /// api 1.token.group.sent
    #[test]
    fn only_who_was_dialled_answers() {
        let me = Peer { id: 2, label: "b".to_owned(), address: "h:2".to_owned() };
        assert_eq!(hello().is_for("c", 0, &me), Ok(()));
        let by_address = Hello { to: 0, to_label: String::new(), ..hello() };
        assert_eq!(by_address.is_for("c", 0, &me), Ok(()));
        assert!(matches!(hello().is_for("d", 0, &me), Err(Refusal::Cluster { .. })));
        assert!(matches!(hello().is_for("c", 1, &me), Err(Refusal::Group { .. })));
        for other in [Peer { id: 3, ..me.clone() }, Peer { label: "x".to_owned(), ..me.clone() }] {
            let refused = hello().is_for("c", 0, &other);
            assert!(matches!(refused, Err(Refusal::AnotherNode { .. })), "{refused:?}");
        }
    }
}
