//! The member that this process is.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use membership::{Membership, Profile};
use tokio::sync::{broadcast, watch};

use super::{
    Card, GossipFigures, Member, MemberOptions, MemberState, begin,
    subject::{Subject, Worker},
    workers::{WorkerEvent, WorkerMember},
};
use crate::node::{Clock, Environment, OpenError, RaftRuntime, open::OwnThreads};

/// One thread: all of gossip's turns are short.
const GOSSIP_THREADS: usize = 1;
/// How many events wait for who listens.
const EVENTS_MAX: usize = 1024;
/// How long a farewell may take.
const LEAVE_PATIENCE: Duration = Duration::from_millis(300);

/// The member that this process is: on a thread of its own, so that no load on the rest makes it look
/// dead. It ends with the last clone.
#[derive(Debug, Clone)]
pub struct Gossip {
    inner: Arc<Inner>,
}

/// What the clones share, and the task that follows the membership.
pub(super) struct Inner {
    name: String,
    cluster: String,
    profile: Profile,
    /// Not there until the advertised name has led somewhere.
    pub(super) membership: OnceLock<Membership>,
    pub(super) subject: Arc<dyn Subject>,
    pub(super) unreadable_cards: AtomicU64,
    pub(super) changes: broadcast::Sender<Member>,
    pub(super) worker_events: broadcast::Sender<WorkerEvent>,
    threads: OwnThreads,
}

impl Gossip {
    /// Begins to gossip for `subject`. While the advertised name leads nowhere, that goes on to be tried
    /// after this has returned.
    ///
    /// # Errors
    /// [`OpenError`]; nothing runs then.
    pub(in crate::node) async fn open(
        options: MemberOptions,
        subject: Arc<dyn Subject>,
        clock: Arc<dyn Clock>,
        seed: u64,
        runtime: RaftRuntime,
    ) -> Result<Self, OpenError> {
        let inner = Arc::new(Inner {
            name: options.name.clone(),
            cluster: options.cluster.clone(),
            profile: options.profile,
            membership: OnceLock::new(),
            subject,
            unreadable_cards: AtomicU64::new(0),
            changes: broadcast::Sender::new(EVENTS_MAX),
            worker_events: broadcast::Sender::new(EVENTS_MAX),
            threads: OwnThreads::start(runtime, "gossip", GOSSIP_THREADS)?,
        });
        let beginning = begin::begin(Arc::clone(&inner), options, clock, seed);
        inner.threads.run(beginning).await?;
        Ok(Self { inner })
    }

    /// Begins to gossip as an agent that claims under `session`, whichever that is at a time.
    ///
    /// # Errors
    /// [`OpenError`]; nothing runs then.
    pub async fn of_worker(
        options: MemberOptions,
        session: watch::Receiver<u64>,
        labels: BTreeMap<String, String>,
    ) -> Result<Self, OpenError> {
        let Environment { clock, raft, .. } = Environment::of_machine();
        let first = *session.borrow();
        let subject = Arc::new(Worker { card: Card::of_worker(first, labels), session });
        Self::open(options, subject, clock, raft.seed, RaftRuntime::Own).await
    }

    /// The cluster under whose name it gossips.
    pub fn cluster(&self) -> &str {
        &self.inner.cluster
    }

    /// The timers, which all members share.
    pub fn profile(&self) -> Profile {
        self.inner.profile
    }

    /// Every member, this one included, by name.
    pub fn members(&self) -> Vec<Member> {
        self.inner.members()
    }

    /// Each member whose state has become another, or that is there in a later life, as it is then. Who
    /// lags behind is told so, and reads [`Gossip::members`] again.
    pub fn changes(&self) -> broadcast::Receiver<Member> {
        self.inner.changes.subscribe()
    }

    /// The agents that are known, those that are down among them.
    pub fn workers(&self) -> Vec<WorkerMember> {
        self.inner.members().into_iter().filter_map(WorkerMember::of).collect()
    }

    /// What becomes of agents from now on.
    pub fn worker_events(&self) -> broadcast::Receiver<WorkerEvent> {
        self.inner.worker_events.subscribe()
    }

    /// What is counted.
    pub fn figures(&self) -> GossipFigures {
        let mut figures = GossipFigures {
            unreadable_cards: self.inner.unreadable_cards.load(Ordering::Relaxed),
            layer: self.inner.membership.get().map(Membership::figures).unwrap_or_default(),
            ..GossipFigures::default()
        };
        for member in self.inner.members() {
            *figures.members.entry((member.state, member.kind)).or_default() += 1;
        }
        figures
    }

    /// Says goodbye, so that nobody has to find out. Returns soon, heard or not.
    pub async fn leave(&self) {
        if let Some(membership) = self.inner.membership.get() {
            membership.leave(LEAVE_PATIENCE).await;
        }
    }

    /// Ends it, without a word.
    pub async fn stop(&self) {
        if let Some(membership) = self.inner.membership.get() {
            membership.stop().await;
        }
        self.inner.threads.end();
    }
}

impl Inner {
    pub(super) fn members(&self) -> Vec<Member> {
        let members = self.membership.get().map(Membership::members).unwrap_or_default();
        members.into_iter().map(|member| self.seen(member)).collect()
    }

    /// A member as this room shows it.
    pub(super) fn seen(&self, member: membership::Member) -> Member {
        let name = member.identity.name();
        let card = member.metadata.and_then(|bytes| Card::decode(&bytes).ok());
        let known = self.subject.kind_of(name, card.as_ref());
        Member {
            is_self: name == self.name,
            name: name.to_owned(),
            address: member.identity.address(),
            incarnation: member.identity.incarnation(),
            state: match member.state {
                membership::MemberState::Alive => MemberState::Alive,
                membership::MemberState::Suspect => MemberState::Suspect,
                membership::MemberState::Down => MemberState::Down,
            },
            since_wall_ms: member.since_ms,
            rtt_us: member.rtt_us,
            kind: known.or_else(|| card.as_ref().map(|card| card.kind)),
            card,
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("name", &self.name).finish_non_exhaustive()
    }
}
