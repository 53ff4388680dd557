//! The types that openraft is instantiated with. None of them leaves this crate.

use std::{any::Any, fmt, sync::Mutex};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Peer, PeerId, snapshots::SnapshotFile};

/// The runtime of openraft's tasks and random choices.
#[cfg(not(feature = "simulation"))]
pub(crate) type Runtime = openraft::impls::TokioRuntime;
/// The runtime in simulation: every random choice follows from the seed.
#[cfg(feature = "simulation")]
pub(crate) type Runtime =
    openraft_rt::deterministic_rng::DeterministicRng<openraft_rt_tokio::TokioRuntime>;

openraft::declare_raft_types!(
    /// What openraft replicates here: opaque bytes among [`Peer`]s. One vote a term, as in Raft §5.2:
    /// openraft's default lets a greater node id lead the same term (docs/adr/0004).
    pub(crate) TypeConfig:
        D = Command,
        R = Answer,
        NodeId = PeerId,
        Node = Peer,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, PeerId>,
        AsyncRuntime = Runtime,
);

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
/// A snapshot's metadata and its data.
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotFile>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub(crate) type AppendResult = openraft::raft::StreamAppendResult<TypeConfig>;
pub(crate) type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
pub(crate) type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;
pub(crate) type TransferRequest = openraft::raft::TransferLeaderRequest<TypeConfig>;
pub(crate) type TransferResponse = openraft::raft::TransferLeaderResponse<TypeConfig>;
pub(crate) type SnapshotResponse = openraft::raft::SnapshotResponse<TypeConfig>;
pub(crate) type RpcError = openraft::errors::RPCError<TypeConfig>;

/// An entry of whoever proposed it: bytes that only the machine understands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command(pub(crate) Bytes);

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

/// What an entry answered, on its way from `apply` to the proposer in the same process. It can be
/// taken once. openraft wants it serialisable and never serialises it: on the wire it is empty.
#[derive(Default)]
pub(crate) struct Answer(Mutex<Option<Box<dyn Any + Send>>>);

impl Answer {
    pub(crate) fn new<T: Any + Send>(outcome: T) -> Self {
        Self(Mutex::new(Some(Box::new(outcome))))
    }

    /// The outcome, unless it is of another type or was taken.
    pub(crate) fn take<T: Any + Send>(self) -> Option<T> {
        let outcome = self.0.into_inner().expect("no holder of this lock panics")?;
        outcome.downcast().ok().map(|outcome| *outcome)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Answer")
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self::default())
    }
}
