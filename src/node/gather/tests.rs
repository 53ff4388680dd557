use std::{sync::atomic::AtomicUsize, time::Duration};

use super::*;
use crate::{
    node::{
        Limits,
        samples::{self, SOON},
    },
    queue::{Add, Answer, Claim, Once, Rev},
};

fn submission(work: Work, deadline: Instant) -> (Submission, oneshot::Receiver<Attempt>) {
    let (reply, answer) = oneshot::channel();
    (Submission { work, deadline, was_taken: Arc::default(), reply }, answer)
}

fn work_of(lane: Lane, steps: usize, bytes: usize) -> Work {
    Work { commands: vec![Bytes::new()], bytes, steps, lane, permit: None }
}

/// What `take` makes of these, as (steps, bytes) of each, batch after batch.
fn batches(works: &[Work]) -> Vec<Vec<(usize, usize)>> {
    let now = Instant::now();
    let mut waiting = Waiting::default();
    let mut answers = Vec::new();
    for work in works {
        let (submission, answer) = submission(work.clone(), now + SOON);
        waiting.push(submission);
        answers.push(answer);
    }
    let mut batches = Vec::new();
    loop {
        let batch = waiting.take(now);
        if batch.is_empty() {
            return batches;
        }
        batches.push(batch.iter().map(|it| (it.work.steps, it.work.bytes)).collect());
    }
}

fn outcome(rev: u64) -> Outcome {
    Outcome { rev: Rev(rev), result: Ok(Answer::Failed(Once::First)) }
}

#[tokio::test]
async fn a_batch_ends_before_either_bound() {
    let steps = work_of(Lane::Add, 900, 1);
    assert_eq!(batches(&[steps.clone(), steps.clone(), steps]).len(), 2);
    let bytes = work_of(Lane::Add, 1, BATCH_BYTES / 2);
    assert_eq!(batches(&[bytes.clone(), bytes.clone(), bytes]).len(), 2);
}

#[tokio::test]
async fn one_larger_request_goes_alone() {
    let small = work_of(Lane::Add, 1, 1);
    let large = work_of(Lane::Add, BATCH_STEPS + 1, BATCH_BYTES + 1);
    let taken = batches(&[small.clone(), large, small]);
    assert_eq!(taken, [vec![(1, 1)], vec![(BATCH_STEPS + 1, BATCH_BYTES + 1)], vec![(1, 1)]]);
}

#[tokio::test]
async fn holders_go_before_claims_and_claims_before_adds() {
    let works = [
        work_of(Lane::Add, 1, 0),
        work_of(Lane::Claim, 2, 0),
        work_of(Lane::Add, 3, 0),
        work_of(Lane::Holder, 4, 0),
    ];
    assert_eq!(batches(&works), [vec![(4, 0), (2, 0), (1, 0), (3, 0)]]);
}

/// api 1.hold.deadline.kept
#[tokio::test]
async fn what_is_past_its_deadline_or_abandoned_is_never_taken() {
    let now = Instant::now();
    let mut waiting = Waiting::default();
    let (late, mut answer) = submission(work_of(Lane::Add, 1, 0), now);
    let (abandoned, gone) = submission(work_of(Lane::Add, 1, 0), now + SOON);
    drop(gone);
    waiting.push(late);
    waiting.push(abandoned);
    assert!(waiting.take(now).is_empty());
    assert_eq!(answer.try_recv(), Ok(Err(Setback::NotProposed)));
}

#[test]
fn a_long_list_of_commands_is_cut_into_batches_in_order() {
    let jobs = |count: usize| (0..count).map(|n| samples::new_job(&format!("j{n}"))).collect();
    let commands = [900, 900, 900].map(|count| Command::Add(Add { jobs: jobs(count) }));
    let pieces = Work::cut(&commands);
    assert_eq!(pieces.iter().map(|piece| piece.steps).collect::<Vec<_>>(), [1800, 900]);
    let claim = Claim { max: 1000, ..samples::claim("w", "r") };
    let mixed = [samples::heartbeat("j", 1), Command::Claim(claim)];
    let [piece] = &Work::cut(&mixed)[..] else { panic!("they fit in one batch") };
    assert_eq!((piece.steps, piece.lane), (1001, Lane::Claim));
    assert!(Work::cut(&[]).is_empty());
}

#[test]
fn what_a_peer_sent_is_read_before_it_may_go_into_the_log() {
    let good = codec::encode_command(&samples::add("a"));
    assert_eq!(Work::received(vec![good.clone()]).unwrap().lane, Lane::Add);
    assert!(Work::received(vec![good, Bytes::from_static(b"\xff\xff\xff\xff")]).is_err());
}

#[tokio::test]
async fn each_submission_gets_its_own_outcomes() {
    let now = Instant::now();
    let two = Work { commands: vec![Bytes::new(), Bytes::new()], ..work_of(Lane::Add, 2, 0) };
    let (first, mut first_answer) = submission(two, now);
    let (tick, mut tick_answer) = submission(Work::tick(), now);
    let (second, mut second_answer) = submission(work_of(Lane::Add, 1, 0), now);
    hand_back(vec![first, tick, second], [1, 2, 3].map(outcome).into());
    assert_eq!(first_answer.try_recv(), Ok(Ok(vec![outcome(1), outcome(2)])));
    assert_eq!(tick_answer.try_recv(), Ok(Ok(vec![])));
    assert_eq!(second_answer.try_recv(), Ok(Ok(vec![outcome(3)])));
}

/// A pump with one place whose batches are carried only when the test opens the gate.
struct Gated {
    pump: Arc<Pump>,
    gate: Arc<tokio::sync::Semaphore>,
    batches: Arc<AtomicUsize>,
    runner: tokio::task::JoinHandle<()>,
}

fn gated() -> Gated {
    let pump = Arc::new(Pump::default());
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let batches = Arc::new(AtomicUsize::new(0));
    let runner = tokio::spawn({
        let (pump, gate, batches) = (Arc::clone(&pump), Arc::clone(&gate), Arc::clone(&batches));
        async move {
            let carry = |batch: Vec<Submission>| {
                let (gate, batches) = (Arc::clone(&gate), Arc::clone(&batches));
                async move {
                    batches.fetch_add(1, Ordering::Relaxed);
                    gate.acquire().await.unwrap().forget();
                    let count = batch.iter().map(|it| it.work.commands.len()).sum();
                    hand_back(batch, vec![outcome(0); count]);
                }
            };
            pump.run(1, carry).await;
        }
    });
    Gated { pump, gate, batches, runner }
}

#[tokio::test(start_paused = true)]
async fn without_load_a_request_goes_at_once_and_under_load_the_next_batch_fills() {
    let gated = gated();
    let submit = |work: Work| {
        let pump = Arc::clone(&gated.pump);
        tokio::spawn(async move { pump.submit(work, Instant::now() + SOON).await })
    };
    let first = submit(work_of(Lane::Add, 1, 0));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(gated.batches.load(Ordering::Relaxed), 1);
    let others: Vec<_> = (0..10).map(|_| submit(work_of(Lane::Add, 1, 0))).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    gated.gate.add_permits(2);
    assert!(first.await.unwrap().is_ok());
    for other in others {
        assert!(other.await.unwrap().is_ok());
    }
    assert_eq!(gated.batches.load(Ordering::Relaxed), 2, "ten requests shared one batch");
    gated.runner.abort();
}

#[tokio::test(start_paused = true)]
async fn at_its_deadline_a_request_knows_whether_it_was_taken() {
    let gated = gated();
    let deadline = Instant::now() + Duration::from_secs(1);
    let taken = gated.pump.enqueue(work_of(Lane::Add, 1, 0), deadline);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let waiting = gated.pump.enqueue(work_of(Lane::Add, 1, 0), deadline);
    assert_eq!(taken.outcome().await, Err(Setback::Unknown));
    assert_eq!(waiting.outcome().await, Err(Setback::NotProposed));
    gated.gate.add_permits(1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(gated.batches.load(Ordering::Relaxed), 1, "what was too late is never carried");
    gated.runner.abort();
}

#[tokio::test]
async fn a_closed_pump_refuses_what_waits_and_what_comes() {
    let pump = Pump::default();
    let waiting = pump.enqueue(work_of(Lane::Add, 1, 0), Instant::now() + SOON);
    pump.close();
    assert_eq!(waiting.outcome().await, Err(Setback::NotProposed));
    let late = pump.submit(work_of(Lane::Add, 1, 0), Instant::now() + SOON).await;
    assert_eq!(late, Err(Setback::NotProposed));
}

#[tokio::test]
async fn abandoned_work_is_counted_until_it_has_left_the_queue() {
    let limits = Limits { lane_commands: 1, ..Limits::default() };
    let admission = Admission::new(limits);
    let pump = Pump::default();
    let work = Work::one(&samples::add("a")).admit(&admission).unwrap();
    drop(pump.enqueue(work, Instant::now() + SOON));
    assert!(Work::one(&samples::add("b")).admit(&admission).is_err());
    pump.close();
    assert!(Work::one(&samples::add("b")).admit(&admission).is_ok());
}
