//! What the benchmarks feed the queue with: commands with fresh ids, and a clock that goes on.

use quorate::queue::{
    Claim, ClockMs, Command, Entry, JobId, NewJob, RequestId, Stamp, WallMs, WorkerId,
};

/// Makes commands with fresh ids and a clock that goes on.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) jobs: u64,
    claims: u64,
    pub(crate) clock: u64,
}

impl Load {
    /// An entry one millisecond after the last.
    pub(crate) fn entry(&mut self, commands: Vec<Command>) -> Entry {
        self.clock += 1;
        Entry { stamp: Stamp { clock: ClockMs(self.clock), wall: WallMs(self.clock) }, commands }
    }

    /// A job that nothing holds back.
    pub(crate) fn job(&mut self) -> NewJob {
        self.jobs += 1;
        NewJob::plain(JobId::parse(&format!("job-{:012}", self.jobs)).expect("an id"))
    }

    /// A claim of one job, of any queue and kind.
    pub(crate) fn claim(&mut self) -> Claim {
        self.claims += 1;
        Claim {
            worker: WorkerId::parse("w1").expect("a name"),
            session: None,
            queues: Vec::new(),
            work_types: Vec::new(),
            max: 1,
            lease_ms: None,
            request_id: RequestId::parse(&format!("r-{}", self.claims)).expect("an id"),
            labels: std::collections::BTreeMap::new(),
        }
    }
}
