//! Claims about what is known of workers, and about draining.

use super::*;
use crate::queue::{
    Action, Beat, Cancel, Claimed, Command, Grant, Limits, Token,
    state::tests::{Bench, held, id_of, job},
};

fn worker(name: &str) -> WorkerId {
    WorkerId::parse(name).unwrap()
}

fn drain(bench: &mut Bench, name: &str, is_draining: bool) -> Result<Answer, Rejection> {
    bench.act(Action::DrainWorker { worker: worker(name), is_draining })
}

/// A claim of one job by this worker.
fn claim_by(bench: &mut Bench, name: &str) -> Claim {
    Claim { worker: worker(name), ..bench.fresh_claim() }
}

fn granted_to(bench: &mut Bench, name: &str) -> Grant {
    let claim = claim_by(bench, name);
    match bench.claim_with(claim).remove(0) {
        Claimed::Granted(grant) => grant,
        lost @ Claimed::Lost { .. } => panic!("a fresh claim answered {lost:?}"),
    }
}

/// Beats for these leases; whether the worker is told to drain.
fn beat(bench: &mut Bench, named: Option<&str>, grants: &[&Grant]) -> bool {
    let item = |grant: &&Grant| Beat { holding: held(grant), lease_ms: None, progress: None };
    let items = grants.iter().map(item).collect();
    match bench.run(Command::Heartbeat(Heartbeat { worker: named.map(worker), items })) {
        Ok(Answer::Heartbeat { drain, .. }) => drain,
        other => panic!("a heartbeat answered {other:?}"),
    }
}

fn seen_at(bench: &Bench, name: &str) -> Option<u64> {
    bench.state.worker(&worker(name)).map(|view| view.seen_at.0)
}

#[test]
fn worker_is_known_from_its_first_grant_with_what_it_said_of_itself() {
    let mut bench = Bench::new();
    let labels = BTreeMap::from([("gpu".to_owned(), "no".to_owned())]);
    let claim = Claim { labels, session: Some(7), ..claim_by(&mut bench, "w1") };
    assert!(bench.claim_with(claim.clone()).is_empty());
    assert_eq!(bench.state.worker(&worker("w1")), None, "it was granted nothing");

    for id in ["1", "2"] {
        bench.add(job(id)).unwrap();
    }
    assert_eq!(bench.claim_with(claim.clone()).len(), 1);
    let view = WorkerView {
        id: worker("w1"),
        labels: claim.labels,
        session: Some(7),
        is_down: false,
        is_draining: false,
        held: 1,
        seen_at: bench.stamp.wall,
    };
    assert_eq!(bench.state.worker(&worker("w1")), Some(view));

    bench.pass(5);
    granted_to(&mut bench, "w1");
    let view = bench.state.worker(&worker("w1")).unwrap();
    assert_eq!((view.labels.len(), view.session, view.held), (0, Some(7), 2));
    assert_eq!(view.seen_at, bench.stamp.wall);
}

#[test]
fn repeated_claim_is_no_sign_of_life() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let claim = claim_by(&mut bench, "w1");
    bench.claim_with(claim.clone());
    let before = seen_at(&bench, "w1");
    bench.pass(20_000);
    assert_eq!(bench.claim_with(claim).len(), 1);
    assert_eq!(seen_at(&bench, "w1"), before);
}

#[test]
fn being_granted_or_heard_of_raises_no_revision_of_its_own() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = granted_to(&mut bench, "w1");
    assert_eq!(grant.token.0, bench.rev());
    beat(&mut bench, None, &[&grant]);
    let rev = bench.rev();
    bench.pass(SEEN_GRAIN_MS);
    beat(&mut bench, None, &[&grant]);
    assert_eq!(bench.rev(), rev);
}

#[test]
fn heartbeat_is_written_down_once_its_grain_has_passed() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = granted_to(&mut bench, "w1");
    let first = seen_at(&bench, "w1");
    bench.pass(SEEN_GRAIN_MS - 1);
    beat(&mut bench, Some("w1"), &[&grant]);
    assert_eq!(seen_at(&bench, "w1"), first);
    bench.pass(1);
    beat(&mut bench, Some("w1"), &[]);
    assert_eq!(seen_at(&bench, "w1"), Some(bench.stamp.wall.0));
}

#[test]
fn unnamed_heartbeat_counts_for_the_holder_of_the_first_lease_it_extended() {
    let mut bench = Bench::new();
    for id in ["1", "2", "3"] {
        bench.add(job(id)).unwrap();
    }
    let [gone, second, third] = ["w1", "w2", "w3"].map(|name| granted_to(&mut bench, name));
    bench.complete(&gone).unwrap();
    drain(&mut bench, "w2", true).unwrap();
    bench.pass(SEEN_GRAIN_MS);
    let now = Some(bench.stamp.wall.0);
    assert!(beat(&mut bench, None, &[&gone, &second, &third]), "w2 drains");
    assert_eq!(["w1", "w2", "w3"].map(|name| seen_at(&bench, name) == now), [false, true, false]);
    assert!(!beat(&mut bench, None, &[&gone]), "nothing was extended: nobody is told to drain");
    assert!(!beat(&mut bench, Some("w3"), &[&second]), "the one that is named counts");
    assert!(!beat(&mut bench, Some("w9"), &[&third]));
    assert_eq!(seen_at(&bench, "w9"), None, "a heartbeat makes no worker known");
}

#[test]
fn draining_worker_is_granted_nothing_new_and_told_so_at_its_heartbeat() {
    let mut bench = Bench::new();
    for id in ["1", "2"] {
        bench.add(job(id)).unwrap();
    }
    let earlier = claim_by(&mut bench, "w1");
    let Claimed::Granted(grant) = bench.claim_with(earlier.clone()).remove(0) else {
        panic!("a job is ready")
    };
    assert!(!beat(&mut bench, None, &[&grant]));
    assert_eq!(drain(&mut bench, "w1", true), Ok(Answer::DrainSet(Once::First)));

    let later = claim_by(&mut bench, "w1");
    assert!(!bench.state.would_grant(&later));
    assert!(bench.claim_with(later.clone()).is_empty());
    assert!(bench.state.would_grant(&earlier));
    assert_eq!(bench.claim_with(earlier).len(), 1, "its earlier claim is answered as it was");
    assert!(beat(&mut bench, None, &[&grant]), "it is told, and its lease is extended");
    bench.complete(&grant).unwrap();

    drain(&mut bench, "w1", false).unwrap();
    assert!(bench.state.would_grant(&later));
    assert_eq!(bench.claim_with(later).len(), 1);
}

#[test]
fn draining_raises_the_revision_only_when_it_changes_something() {
    let mut bench = Bench::new();
    let mut raised = |name: &str, is_draining: bool| {
        let rev = bench.rev();
        assert_eq!(drain(&mut bench, name, is_draining), Ok(Answer::DrainSet(Once::First)));
        bench.rev() - rev
    };
    let calls = [("w1", true), ("w1", true), ("w1", false), ("w1", false), ("w2", false)];
    assert_eq!(calls.map(|(name, is_draining)| raised(name, is_draining)), [1, 0, 1, 0, 0]);
    assert!(bench.state.worker(&worker("w1")).is_some());
    assert_eq!(bench.state.worker(&worker("w2")), None, "to resume it made it known");
}

#[test]
fn drain_is_a_sighting_even_when_it_changes_nothing() {
    let mut bench = Bench::new();
    drain(&mut bench, "w1", true).unwrap();
    bench.pass(1);
    drain(&mut bench, "w1", true).unwrap();
    assert_eq!(seen_at(&bench, "w1"), Some(bench.stamp.wall.0));
}

#[test]
fn worker_beyond_the_bound_is_granted_jobs_but_cannot_be_drained() {
    let limits = Limits { workers_max: 1, worker_ms: 500, ..Limits::default() };
    let mut bench = Bench::with_limits(limits);
    for id in ["1", "2"] {
        bench.add(job(id)).unwrap();
    }
    granted_to(&mut bench, "w1");
    bench.pass(100);
    granted_to(&mut bench, "w2");
    assert_eq!(bench.state.worker(&worker("w2")), None);
    let refused = drain(&mut bench, "w2", true);
    assert!(matches!(refused, Err(Rejection::Full { retry_after_ms: 400, .. })), "{refused:?}");
    assert_eq!(drain(&mut bench, "w2", false), Ok(Answer::DrainSet(Once::First)));
    assert_eq!(drain(&mut bench, "w1", true), Ok(Answer::DrainSet(Once::First)));
}

#[test]
fn worker_without_jobs_is_forgotten_and_its_draining_with_it() {
    let mut bench = Bench::with_limits(Limits { worker_ms: 500, ..Limits::default() });
    drain(&mut bench, "w1", true).unwrap();
    bench.pass(499);
    assert!(bench.state.worker(&worker("w1")).is_some());
    assert_eq!(bench.state.deadlines().clock, Some(bench.stamp.clock.after(1)));
    bench.pass(1);
    assert_eq!(bench.state.worker(&worker("w1")), None);
    bench.add(job("1")).unwrap();
    granted_to(&mut bench, "w1");
}

#[test]
fn worker_that_holds_a_job_is_kept_for_another_while() {
    let mut bench = Bench::with_limits(Limits { worker_ms: 500, ..Limits::default() });
    bench.add(job("1")).unwrap();
    let grant = granted_to(&mut bench, "w1");
    let first = seen_at(&bench, "w1");
    bench.pass(500);
    assert_eq!(seen_at(&bench, "w1"), first, "it is still there, and was not heard of");
    bench.run(Command::Cancel(Cancel { job: id_of("1") })).unwrap();
    bench.pass(499);
    assert_eq!(seen_at(&bench, "w1"), first);
    bench.pass(1);
    assert_eq!(seen_at(&bench, "w1"), None);
    assert!(grant.token > Token(0));
}

#[test]
fn workers_are_forgotten_in_the_order_in_which_they_were_seen_one_step_each() {
    let limits = Limits { worker_ms: 500, steps_max: 1, ..Limits::default() };
    let mut bench = Bench::with_limits(limits);
    drain(&mut bench, "w2", true).unwrap();
    bench.pass(1);
    for name in ["w3", "w1"] {
        drain(&mut bench, name, true).unwrap();
    }
    let names = |bench: &Bench| {
        bench.state.workers(None, 9).iter().map(|view| view.id.to_string()).collect::<Vec<_>>()
    };
    for (left, is_behind) in [(vec!["w1", "w3"], true), (vec!["w3"], true), (vec![], false)] {
        bench.pass(500);
        assert_eq!((names(&bench), bench.state.deadlines().is_behind), {
            (left.iter().map(ToString::to_string).collect(), is_behind)
        });
    }
}

#[test]
fn worker_that_holds_a_job_is_kept_even_when_nothing_is_kept_for_long() {
    let mut bench = Bench::with_limits(Limits { worker_ms: 0, ..Limits::default() });
    bench.add(job("1")).unwrap();
    granted_to(&mut bench, "w1");
    bench.pass(1);
    assert!(bench.state.worker(&worker("w1")).is_some());
    assert!(!bench.state.deadlines().is_behind);
}

#[test]
fn workers_are_listed_by_name_a_page_at_a_time() {
    let mut bench = Bench::new();
    for name in ["w3", "w1", "w2"] {
        drain(&mut bench, name, true).unwrap();
    }
    let page = |after: Option<&str>, limit| {
        let views = bench.state.workers(after.map(worker).as_ref(), limit);
        views.iter().map(|view| view.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2), ["w1", "w2"]);
    assert_eq!(page(Some("w2"), 2), ["w3"]);
    assert_eq!(page(Some("w3"), 2), [""; 0]);
}
