//! Records what clients did and saw, and has `jepsen-like` judge it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jepsen_like::{
    Judge,
    checker::{Finding, Promise, Verdict},
    classify::{Class, Outcome, Sent, classify},
    final_read::{JobLine, ReadEnd},
    history::{Event, Failure, Function, Kind},
};
use serde_json::{Value, json};

use crate::support::{Caller, Reply};

/// Everything that happened, on one clock.
pub(crate) struct Recorder {
    start: Instant,
    events: Mutex<Vec<Event>>,
    next_process: AtomicU64,
}

/// What one call is about, as the history wants it.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) function: Function,
    pub(crate) job: Option<&'a str>,
    pub(crate) token: Option<u64>,
    pub(crate) request: Option<&'a str>,
    pub(crate) body: Value,
}

/// One client: a caller whose every call is recorded.
pub(crate) struct Client<'a> {
    recorder: &'a Recorder,
    caller: Caller,
    process: u64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), events: Mutex::default(), next_process: AtomicU64::new(1) }
    }

    pub(crate) fn client(&self, caller: Caller) -> Client<'_> {
        Client { recorder: self, caller, process: self.process() }
    }

    fn process(&self) -> u64 {
        self.next_process.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes adds that somebody else is about to make; the answer is what [`Recorder::on_added`] takes.
    pub(crate) fn on_adding(
        &self,
        node: &str,
        jobs: impl Iterator<Item = (String, Value)>,
    ) -> Vec<Event> {
        jobs.map(|(job, args)| {
            let call = Call {
                function: Function::Add,
                job: Some(&job),
                token: None,
                request: None,
                body: args,
            };
            self.on_invoke(self.process(), node, &call)
        })
        .collect()
    }

    /// Notes that all of those adds were acknowledged.
    pub(crate) fn on_added(&self, adding: &[Event]) {
        for invoke in adding {
            self.push(Event { kind: Kind::Ok, args: Value::Null, ..invoke.clone() });
        }
    }

    fn on_invoke(&self, process: u64, node: &str, call: &Call<'_>) -> Event {
        self.push(Event {
            i: 0,
            t: 0,
            process,
            node: node.to_owned(),
            kind: Kind::Invoke,
            f: call.function,
            req: call.request.map(str::to_owned),
            q: None,
            job: call.job.map(str::to_owned),
            tok: call.token,
            rev: None,
            args: call.body.clone(),
            res: Value::Null,
            err: None,
        })
    }

    /// Gives the event its place and time, under one lock, so that both only grow.
    fn push(&self, mut event: Event) -> Event {
        let mut events = self.events.lock().expect("no recorder panicked");
        event.i = events.len() as u64 + 1;
        event.t = u64::try_from(self.start.elapsed().as_nanos()).expect("a run is short");
        events.push(event.clone());
        event
    }

    /// Reads every job from every node and has the whole history judged.
    pub(crate) fn judge(self, addresses: &[String], jobs: &[String]) -> Vec<Finding> {
        let mut judge = Judge::default();
        for event in self.events.into_inner().expect("no recorder panicked") {
            judge.on_event(event).expect("a well-formed history");
        }
        for address in addresses {
            let mut caller = Caller::to(std::slice::from_ref(address));
            let mut rev = 0;
            for id in jobs {
                let (status, job) = caller.insist("GET", &format!("/work/get/{id}"), None);
                assert_eq!(status, 200, "{id}: {job}");
                rev = job["rev"].as_u64().expect("a revision");
                let job = serde_json::from_value(job).expect("a job as the contract has it");
                judge.on_final_job(JobLine { node: address.clone(), job });
            }
            judge.on_final_end(ReadEnd { node: address.clone(), rev, jobs: jobs.len() as u64 });
        }
        judge.finish()
    }
}

impl Client<'_> {
    /// Repeats a call that is safe to repeat until it is answered definitely, recording each try; fails when
    /// that takes two minutes.
    pub(crate) fn insist(&mut self, call: &Call<'_>) -> (u16, Value) {
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            assert!(Instant::now() < deadline, "no definite answer in two minutes: {call:?}");
            match self.call(call) {
                Reply::Answer { status, body } if status < 500 => return (status, body),
                Reply::Answer { .. } => self.caller.next(),
                Reply::NotSent | Reply::Lost => {}
            }
        }
    }

    fn call(&mut self, call: &Call<'_>) -> Reply {
        let node = self.caller.address();
        let invoke = self.recorder.on_invoke(self.process, &node, call);
        let path = format!("/work/{}", call.function);
        let reply = self.caller.call("POST", &path, Some(&call.body));
        self.complete(&invoke, &reply);
        reply
    }

    fn complete(&mut self, invoke: &Event, reply: &Reply) {
        let outcome = match reply {
            Reply::Answer { status, body } => {
                Outcome::Answered { status: *status, body: Some(body.clone()) }
            }
            Reply::NotSent => Outcome::NotConnected,
            Reply::Lost => Outcome::Closed(Sent::Perhaps),
        };
        let (kind, err): (Kind, Option<Failure>) = match classify(invoke.f, &outcome) {
            Class::Completed(kind, failure) => (kind, failure),
            Class::Dropped => unreachable!("only writes are recorded"),
        };
        let mut event = Event { kind, err, args: Value::Null, ..invoke.clone() };
        if let (Kind::Ok, Reply::Answer { body, .. }) = (kind, reply) {
            event.rev = body["rev"].as_u64();
            event.res = body.clone();
            if invoke.f == Function::Claim {
                event.res = body["work"].clone();
                event.job = body["work"]["work_id"].as_str().map(str::to_owned);
                event.tok = body["work"]["token"].as_u64();
            }
        }
        self.recorder.push(event);
        if kind == Kind::Info {
            self.process = self.recorder.process();
        }
    }
}

/// Fails unless every promise held, and those that these workloads are for were put to the test.
pub(crate) fn every_promise_holds(findings: &[Finding]) {
    for finding in findings {
        eprintln!("{:?}: {} ({})", finding.promise, finding.promise.sentence(), finding.counts);
    }
    for finding in findings {
        let is_valid = finding.verdict == Verdict::Valid;
        let is_untested = matches!(finding.verdict, Verdict::Unknown { .. });
        let is_others = finding.promise > Promise::S6;
        assert!(is_valid || is_others && is_untested, "{finding}");
    }
}

/// The body of a claim that may be repeated.
pub(crate) fn claim_body(worker: &str, request: &str, lease_ms: u64, wait_ms: u64) -> Value {
    json!({"node_id": worker, "request_id": request, "lease_ms": lease_ms, "wait_ms": wait_ms})
}
