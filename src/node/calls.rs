//! What nodes ask of each other. A follower asks the leader; the leader answers for itself and
//! never asks on, so a request cannot go round in circles.
//!
//! ```text
//! ┌─────────────┬─────────────┬────────────────────────┐
//! │ format  u16 │ group  u32  │ Request or Response    │
//! └─────────────┴─────────────┴────────────────────────┘
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Cause,
    codec::{self, CodecError},
    gather::Setback,
    worker_down::Verdict,
};
use crate::queue::{Claim, Outcome, WorkerId};

/// The layout of requests and responses.
const CALL_FORMAT: u16 = 1;
/// The longest request or response: a batch of commands, or a claim's payloads.
const CALL_BYTES_MAX: usize = raft::ENTRY_BYTES_MAX;
/// The one Raft group that there is today.
const GROUP: u32 = 0;

/// One question, nearly always to the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Carry out commands.
    Submit(Vec<Submitted>),
    /// Claim. A claim that has to wait is parked, so that it holds up no other request of its
    /// sender.
    Claim(Claiming),
    /// From the leader: what a parked claim came to.
    Settle {
        /// As in [`Claiming::ticket`].
        ticket: u64,
        /// Its outcome.
        outcome: Result<Outcome, Refusal>,
    },
    /// The caller of that claim is gone: give up its place.
    Forget {
        /// As in [`Claiming::ticket`].
        ticket: u64,
    },
    /// An index that a linearizable read must have applied.
    ReadIndex,
    /// The sender leads this term and is about to hand it over.
    Resigning {
        /// The term.
        term: u64,
    },
    /// Are you there?
    Ping,
    /// What does your wall clock show?
    WallClock,
    /// Why does that term have you as its leader?
    Cause {
        /// The term.
        term: u64,
    },
    /// Is this session of a worker down, as you see it?
    WorkerDown {
        /// The worker.
        worker: WorkerId,
        /// Its session.
        session: u64,
    },
    /// Change the voters, or go on with that change.
    ChangeVoters {
        /// The change.
        change: raft::Change,
        /// Answer after this how far it is, ms.
        wait_ms: u64,
    },
    /// Hand the leadership to this voter.
    HandOver {
        /// Its label.
        to: String,
    },
}

/// Commands of one caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Submitted {
    /// Each as it stands in an entry.
    pub(super) commands: Vec<Bytes>,
    /// Not to be proposed after this, ms.
    pub(super) remaining_ms: u64,
}

/// A claim on its way to the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claiming {
    /// The claim.
    pub(super) claim: Claim,
    /// How much longer it waits for a job, ms.
    pub(super) wait_ms: u64,
    /// Not to be proposed after this, ms; at least `wait_ms`.
    pub(super) remaining_ms: u64,
    /// What [`Request::Forget`] names it by; unique to the sender's process.
    pub(super) ticket: u64,
    /// Whether its client named it and may send it again: then nothing of it is given back.
    pub(super) may_come_again: bool,
}

/// The answer to a [`Request`] of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Response {
    /// One a submission, in their order.
    Submitted(Vec<Result<Vec<Outcome>, Refusal>>),
    /// The claim's outcome.
    Claimed(Result<Outcome, Refusal>),
    /// There is nothing for the claim yet: [`Request::Settle`] follows.
    Parked,
    /// To [`Request::Settle`].
    Settled {
        /// `false`: nobody waits for it here any more. What was granted is not taken.
        is_wanted: bool,
    },
    /// Whether the claim was still there or not.
    Forgotten,
    /// The log index.
    ReadIndex(Result<u64, Refusal>),
    /// To [`Request::Resigning`].
    Noted,
    /// To [`Request::Ping`].
    Pong,
    /// Nothing was done: this version cannot read the request, or the node is not open.
    Declined,
    /// To [`Request::WallClock`]: ms since the Unix epoch.
    WallClock {
        /// As it was when the request was read.
        wall_ms: u64,
    },
    /// To [`Request::Cause`]; `None` when it cannot tell either.
    Cause(Option<Cause>),
    /// To [`Request::WorkerDown`].
    WorkerDown(Verdict),
    /// To [`Request::ChangeVoters`].
    VotersChanged(raft::ChangeState),
    /// To [`Request::HandOver`].
    HandedOver(Result<(), raft::ChangeError>),
}

/// Why the asked node did not carry something out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// It does not lead, or its time was up first. Certainly not proposed.
    NotProposed,
    /// Too much waits there. Certainly not proposed.
    Overloaded {
        /// Try again after this, ms.
        retry_after_ms: u64,
    },
    /// Too many claims wait there. Certainly not proposed.
    TooManyWaiters {
        /// Try again after this, ms.
        retry_after_ms: u64,
    },
    /// It was proposed and the outcome is unknown.
    Unknown,
    /// Its disk is (nearly) full. Certainly not proposed.
    DiskFull,
}

impl From<Refusal> for Setback {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotProposed => Self::NotProposed,
            Refusal::Overloaded { retry_after_ms } => Self::Overloaded { retry_after_ms },
            Refusal::TooManyWaiters { retry_after_ms } => Self::TooManyWaiters { retry_after_ms },
            Refusal::Unknown => Self::Unknown,
            Refusal::DiskFull => Self::DiskFull,
        }
    }
}

impl From<Setback> for Refusal {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::NotProposed => Self::NotProposed,
            Setback::Overloaded { retry_after_ms } => Self::Overloaded { retry_after_ms },
            Setback::TooManyWaiters { retry_after_ms } => Self::TooManyWaiters { retry_after_ms },
            Setback::Unknown => Self::Unknown,
            Setback::DiskFull => Self::DiskFull,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    group: u32,
    body: T,
}

impl Request {
    /// The bytes of a call.
    pub(super) fn encode(&self) -> Bytes {
        codec::encode(CALL_FORMAT, &Envelope { group: GROUP, body: self })
    }

    /// Reads a peer's request.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes)
    }
}

impl Response {
    /// The bytes of an answer.
    pub(super) fn encode(&self) -> Bytes {
        codec::encode(CALL_FORMAT, &Envelope { group: GROUP, body: self })
    }

    /// Reads the leader's answer.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes)
    }
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let envelope: Envelope<T> = codec::decode(CALL_FORMAT, bytes, CALL_BYTES_MAX)?;
    if envelope.group == GROUP {
        Ok(envelope.body)
    } else {
        Err(CodecError::Malformed(format!("there is no group {}", envelope.group)))
    }
}

#[cfg(test)]
mod tests;
