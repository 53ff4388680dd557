//! Live agents that hold leases all the time, and what became of each lease.

use std::{collections::BTreeSet, time::Duration};

use jepsen_like::final_read::{End, JobView};

use super::{Check, check::percent};
use crate::{
    cluster::{Cluster, Orders},
    exit::Failure,
};

const QUEUE: &str = "leases";
const LEASE: &str = "30s";
/// How long each job is held.
const HOLD: Duration = Duration::from_secs(5);
/// A share of fewer leases than these says nothing about one in a hundred.
const LEASES_MIN: u64 = 100;

/// The agents, by their names, and the jobs for them.
pub(super) struct Leases {
    agents: BTreeSet<String>,
    places: u16,
    ids: Vec<String>,
}

impl Leases {
    /// So many agents with so many places each; they hold nothing yet.
    pub(super) fn start(cluster: &mut Cluster, agents: u16, slots: u16) -> Result<Self, Failure> {
        let before = cluster.agents.len();
        let script = format!("sleep {}; echo {{}}", HOLD.as_secs());
        for _ in 0..agents {
            let script = script.clone();
            cluster.add_agent(Orders { queue: QUEUE, slots, lease: LEASE, script })?;
        }
        let agents: BTreeSet<String> =
            cluster.agents[before..].iter().map(|agent| agent.name.clone()).collect();
        let places = u16::try_from(agents.len()).expect("few") * slots;
        Ok(Self { agents, places, ids: vec![] })
    }

    /// Adds as many jobs as all places can take in this time, and some.
    pub(super) fn feed(
        &mut self,
        cluster: &Cluster,
        seed: u64,
        time: Duration,
    ) -> Result<(), Failure> {
        let rounds = time.as_secs() / HOLD.as_secs() + 2;
        let count = rounds * u64::from(self.places);
        self.ids = (0..count).map(|number| format!("lease-{seed}-{number}")).collect();
        cluster.add_jobs(QUEUE, &self.ids)
    }

    /// Reads the attempts of all jobs, once those that are held have been ended.
    pub(super) fn read(&self, cluster: &Cluster) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        for id in &self.ids {
            let job = cluster.eventually("a job is read that agents had", || {
                serde_json::from_value(cluster.job(0, id)).ok()
            })?;
            tally.add(&job, &self.agents);
        }
        Ok(tally)
    }
}

/// What became of the leases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    leases: u64,
    completed: u64,
    worker_down: u64,
    expired: u64,
    completed_twice: u64,
}

impl Tally {
    /// Takes the leases of one job that agents of these names held, all of which live.
    fn add(&mut self, job: &JobView, living: &BTreeSet<String>) {
        for attempt in job.attempts.iter().filter(|attempt| living.contains(&attempt.node_id)) {
            self.leases += 1;
            match attempt.end {
                Some(End::WorkerDown) => self.worker_down += 1,
                Some(End::Expired) => self.expired += 1,
                Some(End::Completed) => self.completed += 1,
                Some(End::Failed | End::Released | End::Cancelled) | None => {}
            }
        }
        self.completed_twice += u64::from(job.completed().count() > 1);
    }

    const fn lost(&self) -> u64 {
        self.worker_down + self.expired
    }

    /// How many were lost of those that living agents held; the bound is below this many percent.
    pub(super) fn lost_check(&self, below_percent: Option<f64>) -> Check {
        let share = percent(self.lost(), self.leases);
        let told = format!(
            "{} of {} ({share:.2} %): {} worker_down, {} expired",
            self.lost(),
            self.leases,
            self.worker_down,
            self.expired
        );
        let what = "leases lost of living agents";
        let check = match below_percent {
            Some(bound) => Check::must(what, told, format!("< {bound} %"), share < bound),
            None => Check::figure(what, share, told),
        };
        check.valued(share).if_tested(self.leases >= LEASES_MIN)
    }

    pub(super) fn completed_twice_check(&self) -> Check {
        let told = format!("{} of {} completions", self.completed_twice, self.completed);
        let check = Check::at_most("jobs of agents completed twice", self.completed_twice, 0);
        check.told(told).if_tested(self.completed > 0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::verdict::Verdict;

    fn job(attempts: &Value) -> JobView {
        serde_json::from_value(json!({"work_id": "j", "state": "completed", "attempts": attempts}))
            .unwrap()
    }

    fn attempt(number: u32, node: &str, end: &str) -> Value {
        json!({"attempt": number, "token": number, "node_id": node, "claimed_at_ms": 1, "end": end})
    }

    #[test]
    fn leases_count_of_living_agents_only() {
        let living = BTreeSet::from(["w1".to_owned()]);
        let mut tally = Tally::default();
        tally.add(
            &job(&json!([
                attempt(1, "w1", "worker_down"),
                attempt(2, "w2", "worker_down"),
                attempt(3, "w1", "completed"),
            ])),
            &living,
        );
        assert_eq!((tally.leases, tally.lost(), tally.completed), (2, 1, 1));
        assert_eq!(tally.lost_check(Some(1.0)).verdict, Verdict::Missed);
        assert_eq!(tally.lost_check(None).verdict, Verdict::Unknown, "two are few");
        assert_eq!(tally.completed_twice_check().verdict, Verdict::Met);
    }

    #[test]
    fn two_completions_of_one_job_are_one_too_many() {
        let mut tally = Tally::default();
        let twice = json!([attempt(1, "w1", "completed"), attempt(2, "w2", "completed")]);
        tally.add(&job(&twice), &BTreeSet::from(["w1".to_owned()]));
        assert_eq!(tally.completed_twice_check().verdict, Verdict::Missed);
    }

    #[test]
    fn few_leases_say_nothing_of_one_in_a_hundred() {
        let tally = |leases, expired| Tally { leases, expired, ..Tally::default() };
        let verdict = |leases, expired| tally(leases, expired).lost_check(Some(1.0)).verdict;
        assert_eq!(verdict(0, 0), Verdict::Unknown);
        assert_eq!(verdict(99, 0), Verdict::Unknown);
        assert_eq!(verdict(100, 0), Verdict::Met);
        assert_eq!(verdict(100, 1), Verdict::Missed);
        assert_eq!(verdict(101, 1), Verdict::Met);
        assert_eq!(verdict(99, 1), Verdict::Missed, "that is more than one in a hundred");
        assert_eq!(Tally::default().completed_twice_check().verdict, Verdict::Unknown);
    }
}
