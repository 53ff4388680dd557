//! Departed jobs for the tests of this room: a queue that finishes them and lets their time pass.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use crate::queue::{
    Add, Answer, Cancel, Claim, Claimed, ClockMs, Command, Complete, Entry, Fail, GroupName,
    Holding, Job, JobId, JobState, Limits, NewJob, Payload, RequestId, Retry, Stamp, State, WallMs,
    WorkType, WorkerId,
};

/// A queue whose jobs depart as soon as they are told to.
pub(super) struct Bench {
    state: State,
    clock: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        let limits = Limits { retention_ms: 1, tombstone_floor_ms: 1, ..Limits::default() };
        Self { state: State::with_limits(limits), clock: 1_000 }
    }

    fn apply(&mut self, commands: Vec<Command>) -> crate::queue::Applied {
        self.clock += 1;
        let stamp =
            Stamp { clock: ClockMs(self.clock), wall: WallMs(1_700_000_000_000 + self.clock) };
        self.state.apply(&Entry { stamp, commands })
    }

    /// Lets a job of that id end so, and depart.
    pub(super) fn depart(&mut self, id: &str, how: JobState, payload_bytes: usize) -> Arc<Job> {
        let job = NewJob { id: id_of(id), ..new_job(payload_bytes) };
        self.apply(vec![Command::Add(Add { jobs: vec![job] })]);
        let mut departed = Vec::new();
        if how == JobState::Cancelled {
            self.apply(vec![Command::Cancel(Cancel { job: id_of(id) })]);
        } else {
            let holding = self.claim(id);
            departed = self.apply(vec![ending(how, holding)]).departed.0;
        }
        for _ in 0..3 {
            departed.extend(self.apply(Vec::new()).departed.0);
        }
        assert_eq!(departed.len(), 1, "one job departed");
        departed.remove(0)
    }

    fn claim(&mut self, request: &str) -> Holding {
        let claim = Claim {
            worker: WorkerId::parse("w1").unwrap(),
            session: None,
            queues: Vec::new(),
            work_types: Vec::new(),
            max: 1,
            lease_ms: None,
            request_id: RequestId::parse(request).unwrap(),
            labels: BTreeMap::new(),
        };
        let applied = self.apply(vec![Command::Claim(claim)]);
        let Ok(Answer::Claimed(claimed)) = &applied.outcomes[0].result else { panic!("a claim") };
        let [Claimed::Granted(grant)] = &claimed[..] else { panic!("one grant") };
        Holding { job: grant.job.clone(), token: grant.token }
    }
}

fn ending(how: JobState, holding: Holding) -> Command {
    match how {
        JobState::Completed => Command::Complete(Complete {
            holding,
            result: Some(Bytes::from_static(b"{\"score\":7}")),
            then: Vec::new(),
        }),
        _ => Command::Fail(Fail { holding, error: Some("boom".into()), retry: Retry::Never }),
    }
}

/// So many cancelled jobs, `job-0` first.
pub(super) fn departed(count: usize) -> Vec<Arc<Job>> {
    departed_with(count, 2)
}

/// So many cancelled jobs with payloads of that many bytes.
pub(super) fn departed_with(count: usize, payload_bytes: usize) -> Vec<Arc<Job>> {
    let mut bench = Bench::new();
    let depart =
        |number| bench.depart(&format!("job-{number}"), JobState::Cancelled, payload_bytes);
    (0..count).map(depart).collect()
}

pub(super) fn id_of(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

fn new_job(payload_bytes: usize) -> NewJob {
    let payload = format!("{:1$}", "{}", payload_bytes);
    NewJob {
        work_type: WorkType::parse("selfplay").unwrap(),
        payload: Payload { bytes: payload.into(), content_type: "application/json".into() },
        group: Some(GroupName::parse("g").unwrap()),
        tags: [("run".to_owned(), "7".to_owned())].into(),
        ..NewJob::plain(id_of("job"))
    }
}
