//! How much may wait. Overload is refused here, before anything is proposed, so its answer is
//! always certain (guarantees, rule 8). Calls of the holders of leases are the last to be refused: a
//! node that drowns in adds must not lose the leases of the work that is under way.

use std::{
    array,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use super::Reason;
use crate::queue::Command;

/// What a client is told to wait when a lane is full, ms: about what a full lane takes to drain.
const RETRY_AFTER_MS: u64 = 500;

/// How much may wait on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Commands under way in one lane (holders' calls, claims and cancels, adds).
    pub lane_commands: usize,
    /// Their bytes; one request larger than that is let into an empty lane.
    pub lane_bytes: usize,
    /// Claims under way: long polls that wait here or, through this node, at the leader. All of
    /// them together have [`Limits::lane_bytes`] as well.
    pub claims: usize,
    /// Calls that wait for a job's end.
    pub ended: usize,
    /// Linearizable reads under way.
    pub reads: usize,
    /// Listeners to this node's events.
    pub listeners: usize,
    /// The last events that are kept for them, at least 1.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lane_commands: 50_000,
            lane_bytes: 64 << 20,
            claims: 20_000,
            ended: 20_000,
            reads: 50_000,
            listeners: 64,
            events: 4096,
        }
    }
}

/// Which requests go first; within a lane, first come, first served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Start, heartbeat, complete, fail, release, and ticks: they keep or free what is leased.
    Holder,
    /// Claims, cancels and operations: they empty the queue, or are few. Anyone may cancel as much
    /// as they like, so that must not take the room of a heartbeat.
    Claim,
    /// Adds: they fill it.
    Add,
}

impl Lane {
    /// How many there are.
    pub(super) const COUNT: usize = 3;

    /// Its name in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Holder => "holder",
            Self::Claim => "claim",
            Self::Add => "add",
        }
    }

    /// Where a command goes.
    pub(super) fn of(command: &Command) -> Self {
        match command {
            Command::Add(_) => Self::Add,
            Command::Claim(_) | Command::Cancel(_) | Command::Operate(_) => Self::Claim,
            Command::Start(_)
            | Command::Heartbeat(_)
            | Command::Complete(_)
            | Command::Fail(_)
            | Command::Release(_)
            // Few, and whoever waits for the jobs of a worker that is gone waits for these.
            | Command::WorkerDown(_) => Self::Holder,
        }
    }
}

/// What is under way on a node, from a request's arrival to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnderWayNow {
    /// The commands, by lane.
    pub(super) lanes: [LaneLoad; Lane::COUNT],
    /// The claims, those that wait for work among them.
    pub(super) claims: usize,
    /// The linearizable reads.
    pub(super) reads: usize,
}

/// What is under way in one lane of [`Limits::lane_commands`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLoad {
    /// `holder`, `claim` or `add`.
    pub lane: &'static str,
    /// How many commands.
    pub commands: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// Counts what is under way, from a request's arrival to its answer.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    under_way: Mutex<UnderWay>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct UnderWay {
    lanes: [Load; Lane::COUNT],
    claims: Load,
    reads: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Load {
    commands: usize,
    bytes: usize,
}

impl Load {
    fn add(&mut self, commands: usize, bytes: usize) {
        self.commands += commands;
        self.bytes += bytes;
    }

    fn remove(&mut self, commands: usize, bytes: usize) {
        self.commands -= commands;
        self.bytes -= bytes;
    }
}

impl UnderWay {
    fn is_empty(&self) -> bool {
        let nothing = Load::default();
        self.lanes == array::from_fn(|_| nothing) && self.claims == nothing && self.reads == 0
    }
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, under_way: Mutex::default(), emptied: Notify::new() })
    }

    /// Lets commands in, until the permit is dropped. Nothing is counted when refused.
    pub(super) fn admit(
        self: &Arc<Self>,
        lane: Lane,
        commands: usize,
        bytes: usize,
    ) -> Result<Permit, Reason> {
        let mut under_way = self.lock();
        let load = &mut under_way.lanes[lane as usize];
        let is_full = load.commands + commands > self.limits.lane_commands
            || load.bytes + bytes > self.limits.lane_bytes;
        if is_full && *load != Load::default() {
            return Err(Reason::Overloaded { retry_after_ms: RETRY_AFTER_MS });
        }
        load.add(commands, bytes);
        Ok(self.permit(Place::Lane { lane, commands, bytes }))
    }

    /// Lets a claim in, for as long as it may wait.
    pub(super) fn admit_claim(self: &Arc<Self>, bytes: usize) -> Result<Permit, Reason> {
        let mut under_way = self.lock();
        let load = &mut under_way.claims;
        let is_over_bytes = load.bytes + bytes > self.limits.lane_bytes && *load != Load::default();
        if load.commands >= self.limits.claims || is_over_bytes {
            return Err(Reason::TooManyWaiters { retry_after_ms: RETRY_AFTER_MS });
        }
        load.add(1, bytes);
        Ok(self.permit(Place::Claim { bytes }))
    }

    /// Lets a linearizable read in.
    pub(super) fn admit_read(self: &Arc<Self>) -> Result<Permit, Reason> {
        let mut under_way = self.lock();
        if under_way.reads >= self.limits.reads {
            return Err(Reason::Overloaded { retry_after_ms: RETRY_AFTER_MS });
        }
        under_way.reads += 1;
        Ok(self.permit(Place::Read))
    }

    /// What is under way: the commands and bytes of each lane, the claims, the reads.
    pub(super) fn under_way(&self) -> UnderWayNow {
        let under_way = self.lock();
        let lane = |lane: Lane| {
            let Load { commands, bytes } = under_way.lanes[lane as usize];
            LaneLoad { lane: lane.as_str(), commands, bytes }
        };
        UnderWayNow {
            lanes: [Lane::Holder, Lane::Claim, Lane::Add].map(lane),
            claims: under_way.claims.commands,
            reads: under_way.reads,
        }
    }

    /// Waits until nothing is under way. The caller sets the deadline.
    pub(super) async fn drained(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.lock().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn permit(self: &Arc<Self>, place: Place) -> Permit {
        Permit { admission: Arc::clone(self), place }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().expect("nothing panics while the loads are locked")
    }
}

/// A place among what is under way, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Lane { lane: Lane, commands: usize, bytes: usize },
    Claim { bytes: usize },
    Read,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut under_way = self.admission.lock();
        match self.place {
            Place::Lane { lane, commands, bytes } => {
                under_way.lanes[lane as usize].remove(commands, bytes);
            }
            Place::Claim { bytes } => under_way.claims.remove(1, bytes),
            Place::Read => under_way.reads -= 1,
        }
        if under_way.is_empty() {
            self.admission.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::samples;

    fn small() -> Arc<Admission> {
        Admission::new(Limits { lane_commands: 2, lane_bytes: 100, claims: 1, ..Limits::default() })
    }

    #[test]
    fn a_full_lane_refuses_and_the_others_go_on() {
        let admission = small();
        let adds = admission.admit(Lane::Add, 2, 10).unwrap();
        assert!(matches!(admission.admit(Lane::Add, 1, 1), Err(Reason::Overloaded { .. })));
        admission.admit(Lane::Holder, 1, 1).unwrap();
        drop(adds);
        admission.admit(Lane::Add, 1, 1).unwrap();
    }

    #[test]
    fn a_flood_of_cancels_leaves_heartbeats_their_room() {
        let admission = small();
        let lane_of = |wanted: &str| {
            let commands = samples::one_of_each();
            let found = commands.iter().find(|(name, _)| *name == wanted);
            Lane::of(&found.expect("there is one of each").1)
        };
        let _cancels = admission.admit(lane_of("cancel"), 2, 10).unwrap();
        assert!(admission.admit(lane_of("cancel"), 1, 1).is_err());
        admission.admit(lane_of("heartbeat"), 1, 1).unwrap();
    }

    #[test]
    fn bytes_are_bounded_and_one_larger_request_still_passes_alone() {
        let admission = small();
        let large = admission.admit(Lane::Add, 1, 5_000).unwrap();
        assert!(admission.admit(Lane::Add, 1, 1).is_err());
        drop(large);
        let _half = admission.admit(Lane::Add, 1, 60).unwrap();
        assert!(admission.admit(Lane::Add, 1, 60).is_err());
    }

    #[test]
    fn claims_are_bounded_apart() {
        let admission = small();
        let claim = admission.admit_claim(1).unwrap();
        assert!(matches!(admission.admit_claim(1), Err(Reason::TooManyWaiters { .. })));
        drop(claim);
        admission.admit_claim(1).unwrap();
    }

    #[test]
    fn claims_that_wait_are_bounded_by_their_bytes_too() {
        let admission =
            Admission::new(Limits { lane_bytes: 100, claims: 1_000, ..Limits::default() });
        let wide = admission.admit_claim(60).unwrap();
        assert!(matches!(admission.admit_claim(60), Err(Reason::TooManyWaiters { .. })));
        let _narrow = admission.admit_claim(40).unwrap();
        drop(wide);
        admission.admit_claim(60).unwrap();
    }

    #[tokio::test]
    async fn drained_waits_for_the_last_permit() {
        let admission = small();
        let permit = admission.admit(Lane::Add, 1, 1).unwrap();
        let waiter = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.drained().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(permit);
        waiter.await.unwrap();
    }
}
