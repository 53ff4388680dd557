use std::{sync::Mutex, time::Duration};

use super::*;
use crate::{
    node::{
        ArchiveQuery, ArchiveStatus, ArchiveUnavailable,
        codec::{encode_command, encode_entry},
        samples::{self, claim, complete},
    },
    queue::{Answer, Cancel, Command, Entry, Job, JobView},
};

fn encoded(entry: &Entry) -> Bytes {
    let commands: Vec<Bytes> = entry.commands.iter().map(encode_command).collect();
    encode_entry(entry.stamp, commands.iter())
}

fn apply(machine: &mut Machine, clock: u64, commands: Vec<Command>) -> Vec<Outcome> {
    machine.apply(1, &encoded(&samples::entry(clock, commands))).unwrap()
}

#[tokio::test]
async fn an_added_job_rings_one_parked_claim_and_an_ended_one_its_watchers() {
    let bells = Arc::new(Bells::default());
    let mut machine = Machine::new(Arc::clone(&bells));
    let mut place = bells.waiters().join(&claim("w", "r")).unwrap();
    place.park();
    apply(&mut machine, 1, vec![samples::add("a")]);
    place.rung().await;
    let watch = bells.ended().watch(&samples::id("a"), 1).unwrap();
    assert!(!machine.has_ended(&samples::id("a")));
    let granted = apply(&mut machine, 2, vec![Command::Claim(claim("w", "r"))]);
    let Ok(Answer::Claimed(jobs)) = &granted[0].result else { panic!("{granted:?}") };
    let [crate::queue::Claimed::Granted(grant)] = &jobs[..] else { panic!("{jobs:?}") };
    apply(&mut machine, 3, vec![complete("a", grant.token.0)]);
    watch.rung().await;
    assert!(machine.has_ended(&samples::id("a")));
    assert!(machine.has_ended(&samples::id("never-added")), "what is gone has ended");
}

#[tokio::test]
async fn only_a_sooner_deadline_wakes_the_one_who_ticks() {
    let bells = Arc::new(Bells::default());
    let mut machine = Machine::new(Arc::clone(&bells));
    let mut deadlines = bells.deadlines();
    let mut news = async || tokio::time::timeout(Duration::ZERO, deadlines.changed()).await.is_ok();
    apply(&mut machine, 1, vec![samples::add("a"), samples::add("b")]);
    assert!(!news().await, "a waiting job has no deadline");
    apply(&mut machine, 2, vec![Command::Claim(claim("w", "r1"))]);
    assert!(news().await, "a lease has");
    apply(&mut machine, 3, vec![Command::Claim(claim("w", "r2"))]);
    assert!(!news().await, "the second lease ends later than the first");
}

#[test]
fn an_entry_of_another_format_is_refused_and_changes_nothing() {
    let mut machine = Machine::new(Arc::default());
    let mut bytes = encoded(&samples::entry(1, vec![samples::add("a")])).to_vec();
    bytes[0] = 2;
    let refused = machine.apply(17, &bytes.into()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "log entry 17: format 2 is not known to this version, which reads format 1"
    );
    assert_eq!(machine.state(), &State::default());
}

#[test]
fn a_restored_machine_is_equal_and_of_another_generation() {
    let mut machine = Machine::new(Arc::default());
    apply(&mut machine, 1, vec![samples::add("a")]);
    let mut bytes = Vec::new();
    Machine::write(machine.freeze(), &mut bytes).unwrap();
    let restored = machine.restore(&mut &bytes[..]).unwrap();
    assert_eq!(restored.state(), machine.state());
    assert_ne!(restored.generation(), machine.generation());
    assert!(machine.restore(&mut &bytes[1..]).is_err());
}

/// Keeps in memory what it is offered.
#[derive(Debug, Default)]
struct Shelf(Mutex<Vec<String>>);

impl Archive for Shelf {
    fn offer(&self, departed: Vec<Arc<Job>>) {
        let ids = departed.iter().map(|job| job.view().id.to_string());
        self.0.lock().unwrap().extend(ids);
    }

    fn find(&self, _: &JobId) -> Result<Option<JobView>, ArchiveUnavailable> {
        unreachable!("the machine does not read it")
    }

    fn history(&self, _: &ArchiveQuery) -> Result<Vec<JobView>, ArchiveUnavailable> {
        unreachable!("the machine does not read it")
    }

    fn status(&self) -> ArchiveStatus {
        unreachable!("the machine does not look at it")
    }
}

// Claim: the archive is offered a job when it leaves the state, so neither before nor twice, and a
// machine restored from a snapshot goes on so.
#[test]
fn a_job_is_offered_to_the_archive_when_it_leaves_the_state() {
    let shelf = Arc::new(Shelf::default());
    let mut machine =
        Machine::new(Arc::new(Bells::new(shelf.clone(), Arc::clone(Bells::default().events()))));
    let cancel = Command::Cancel(Cancel { job: samples::id("a") });
    apply(&mut machine, 1, vec![samples::add("a"), samples::add("b"), cancel]);
    let retention_ms = machine.state().limits().retention_ms;
    apply(&mut machine, retention_ms, vec![]);
    assert!(shelf.0.lock().unwrap().is_empty(), "it is still in the state");
    let mut bytes = Vec::new();
    Machine::write(machine.freeze(), &mut bytes).unwrap();
    let mut restored = machine.restore(&mut &bytes[..]).unwrap();
    apply(&mut restored, retention_ms + 1, vec![]);
    apply(&mut restored, retention_ms + 2, vec![]);
    assert_eq!(*shelf.0.lock().unwrap(), ["a"]);
}

#[tokio::test]
async fn what_becomes_of_jobs_is_recorded_while_somebody_listens_and_a_snapshot_is_a_gap() {
    let bells = Arc::new(Bells::default());
    let mut machine = Machine::new(Arc::clone(&bells));
    apply(&mut machine, 1, vec![samples::add("a")]);
    assert_eq!(bells.events().figures().recorded, 0);
    let _listener = bells.events().listen(None).unwrap();
    apply(&mut machine, 2, vec![samples::add("b"), samples::add("b")]);
    assert_eq!(bells.events().figures().recorded, 1);
    let mut bytes = Vec::new();
    Machine::write(machine.freeze(), &mut bytes).unwrap();
    apply(&mut machine, 3, vec![samples::add("c")]);
    assert_eq!(bells.events().figures().recorded, 2);
    machine.restore(&mut &bytes[..]).unwrap();
    assert_eq!(bells.events().figures().recorded, 3);
}
