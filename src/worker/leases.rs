//! What the agent holds, and until when it may believe so.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    queue::{JobId, Token},
    wire::{Beat, BeatStatus, Beaten},
};

/// Why a command is ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Somebody cancelled the job.
    Cancelled,
    /// The server says that the lease is lost.
    Lost,
    /// The lease could not be extended in time.
    Expired,
    /// The agent stops: the job is given back.
    Shutdown,
}

/// One lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lease {
    /// Until when it holds, by this machine's clock.
    until: Instant,
    /// How long it was when it was last granted or extended.
    length: Duration,
}

/// The leases of one agent. Pure: time is an argument.
#[derive(Debug, Default)]
pub(super) struct Leases(BTreeMap<(JobId, Token), Lease>);

impl Leases {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A lease that had this much left at `from`.
    pub(super) fn hold(&mut self, job: JobId, token: Token, from: Instant, left_ms: u64) {
        let length = Duration::from_millis(left_ms);
        self.0.insert((job, token), Lease { until: from + length, length });
    }

    /// Forgets a lease.
    pub(super) fn drop(&mut self, job: JobId, token: Token) {
        self.0.remove(&(job, token));
    }

    /// What to send to keep them all.
    pub(super) fn beats(&self) -> Vec<Beat> {
        let beat = |(job, token): &(JobId, Token)| Beat {
            work_id: job.clone(),
            token: *token,
            lease_ms: None,
            progress: None,
        };
        self.0.keys().map(beat).collect()
    }

    /// When they are to be extended: three times in the shortest, so that two heartbeats may be lost.
    pub(super) fn next_beat(&self) -> Option<Instant> {
        self.0.values().map(|lease| lease.until - lease.length * 2 / 3).min()
    }

    /// Notes what a heartbeat sent at `asked` has done to a lease; says why its command must end.
    pub(super) fn beaten(&mut self, beaten: &Beaten, asked: Instant) -> Option<Stop> {
        let lease = self.0.get_mut(&(beaten.work_id.clone(), beaten.token))?;
        match beaten.status {
            BeatStatus::Extended => {
                if let Some(left_ms) = beaten.lease_expires_in_ms {
                    let length = Duration::from_millis(left_ms);
                    *lease = Lease { until: asked + length, length };
                }
                None
            }
            BeatStatus::Lost => Some(Stop::Lost),
            BeatStatus::CancelRequested => Some(Stop::Cancelled),
        }
    }

    /// When the first of them must be taken for lost. `grace` is how long a command takes to end.
    pub(super) fn next_end(&self, grace: Duration) -> Option<Instant> {
        self.0.values().map(|lease| Self::end(lease, grace)).min()
    }

    /// Those that must be taken for lost now.
    pub(super) fn ended(&self, now: Instant, grace: Duration) -> Vec<(JobId, Token)> {
        let has_ended = |lease: &&Lease| Self::end(lease, grace) <= now;
        let ended = self.0.iter().filter(|(_, lease)| has_ended(lease));
        ended.map(|(held, _)| held.clone()).collect()
    }

    fn end(lease: &Lease, grace: Duration) -> Instant {
        lease.until - grace.min(lease.length / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(1);

    fn job(name: &str) -> JobId {
        JobId::parse(name).unwrap()
    }

    fn beaten(name: &str, token: u64, status: BeatStatus, left_ms: Option<u64>) -> Beaten {
        Beaten { work_id: job(name), token: Token(token), status, lease_expires_in_ms: left_ms }
    }

    #[test]
    fn two_of_three_heartbeats_may_be_lost_and_the_shortest_lease_sets_the_pace() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        assert_eq!(leases.next_beat(), None);
        leases.hold(job("long"), Token(1), now, 30_000);
        assert_eq!(leases.next_beat(), Some(now + Duration::from_secs(10)));
        leases.hold(job("short"), Token(2), now, 3_000);
        assert_eq!(leases.next_beat(), Some(now + Duration::from_secs(1)));
        assert_eq!(leases.beats().len(), 2);
    }

    #[test]
    fn an_extended_lease_counts_from_before_the_request_that_extended_it() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        leases.hold(job("a"), Token(1), now, 30_000);
        let asked = now + Duration::from_secs(10);
        let extended = beaten("a", 1, BeatStatus::Extended, Some(30_000));
        assert_eq!(leases.beaten(&extended, asked), None);
        assert_eq!(leases.next_end(GRACE), Some(asked + Duration::from_secs(29)));
    }

    #[test]
    fn a_lease_is_taken_for_lost_before_it_is_and_a_short_one_loses_a_tenth_at_the_most() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        leases.hold(job("a"), Token(1), now, 1_000);
        let end = now + Duration::from_millis(900);
        assert_eq!(leases.next_end(GRACE), Some(end));
        assert!(leases.ended(end - Duration::from_millis(1), GRACE).is_empty());
        assert_eq!(leases.ended(end, GRACE), [(job("a"), Token(1))]);
    }

    #[test]
    fn a_lost_or_cancelled_lease_ends_its_command_and_another_token_means_nothing() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        leases.hold(job("a"), Token(1), now, 30_000);
        for (status, stop) in
            [(BeatStatus::Lost, Stop::Lost), (BeatStatus::CancelRequested, Stop::Cancelled)]
        {
            assert_eq!(leases.beaten(&beaten("a", 1, status, None), now), Some(stop));
            assert_eq!(leases.beaten(&beaten("a", 2, status, None), now), None);
            assert_eq!(leases.beaten(&beaten("b", 1, status, None), now), None);
        }
        leases.drop(job("a"), Token(2));
        assert_eq!(leases.beats().len(), 1);
        leases.drop(job("a"), Token(1));
        assert!(leases.is_empty());
    }
}
