use std::time::Duration;

use super::*;
use crate::node::samples::{self, queue, work_type};

fn ready(queue_name: &str, kind: &str) -> Call {
    Call { queue: queue(queue_name), work_type: work_type(kind) }
}

/// A parked claim for these queues and kinds; none is any.
fn parked(waiters: &Arc<Waiters>, queues: &[&str], kinds: &[&str]) -> Place {
    let claim = Claim {
        queues: queues.iter().copied().map(queue).collect(),
        work_types: kinds.iter().copied().map(work_type).collect(),
        ..samples::claim("w", "r")
    };
    let mut place = waiters.join(&claim).unwrap();
    place.park();
    place
}

async fn is_rung(place: &Place) -> bool {
    tokio::time::timeout(Duration::ZERO, place.rung()).await.is_ok()
}

#[tokio::test]
async fn one_job_rings_the_oldest_claim_that_it_fits_and_no_other() {
    let waiters = Arc::new(Waiters::default());
    let other_queue = parked(&waiters, &["b"], &[]);
    let other_kind = parked(&waiters, &["a"], &["y"]);
    let oldest = parked(&waiters, &[], &["x"]);
    let younger = parked(&waiters, &["a", "b"], &["x", "y"]);
    waiters.ring(&ready("a", "x"));
    assert!(is_rung(&oldest).await);
    for place in [&other_queue, &other_kind, &younger] {
        assert!(!is_rung(place).await);
    }
    waiters.ring(&ready("a", "x"));
    assert!(is_rung(&younger).await);
}

#[tokio::test]
async fn every_way_of_naming_a_queue_and_a_kind_is_found() {
    for (queues, kinds) in [(&[][..], &[][..]), (&["a"], &[]), (&[], &["x"]), (&["a"], &["x"])] {
        let waiters = Arc::new(Waiters::default());
        let place = parked(&waiters, queues, kinds);
        waiters.ring(&ready("a", "x"));
        assert!(is_rung(&place).await, "{queues:?} {kinds:?}");
    }
}

#[tokio::test]
async fn who_was_beaten_stands_at_its_old_place_again() {
    let waiters = Arc::new(Waiters::default());
    let mut first = parked(&waiters, &[], &[]);
    let second = parked(&waiters, &[], &[]);
    waiters.ring(&ready("a", "x"));
    assert!(is_rung(&first).await);
    first.park();
    first.stay();
    waiters.ring(&ready("a", "x"));
    assert!(is_rung(&first).await);
    assert!(!is_rung(&second).await);
}

#[tokio::test]
async fn a_dropped_place_passes_an_unused_bell_on() {
    let waiters = Arc::new(Waiters::default());
    let first = parked(&waiters, &["a"], &[]);
    let second = parked(&waiters, &[], &[]);
    waiters.ring(&ready("a", "x"));
    drop(first);
    assert!(is_rung(&second).await);
}

#[tokio::test]
async fn a_place_dropped_unrung_rings_nobody() {
    let waiters = Arc::new(Waiters::default());
    let first = parked(&waiters, &[], &[]);
    let second = parked(&waiters, &[], &[]);
    drop(first);
    assert!(!is_rung(&second).await);
    assert_eq!(waiters.lock().parked.len(), 1);
}

#[tokio::test]
async fn a_bell_is_spent_by_a_job_of_its_kind_and_passed_on_by_any_other() {
    for (taken, goes_on) in [("a", false), ("b", true)] {
        let waiters = Arc::new(Waiters::default());
        let first = parked(&waiters, &[], &[]);
        let second = parked(&waiters, &["a"], &[]);
        waiters.ring(&ready("a", "x"));
        first.leave_with([(&queue(taken), &work_type("x"))].into_iter());
        assert_eq!(is_rung(&second).await, goes_on, "took one of queue {taken}");
    }
}

#[tokio::test]
async fn who_tries_its_luck_leaves_the_bell_to_others() {
    let waiters = Arc::new(Waiters::default());
    let trying = parked(&waiters, &[], &[]);
    let waiting = parked(&waiters, &[], &[]);
    trying.step_out();
    waiters.ring(&ready("a", "x"));
    assert!(!is_rung(&trying).await);
    assert!(is_rung(&waiting).await);
}

#[test]
fn a_line_that_is_left_holds_nothing() {
    let waiters = Arc::new(Waiters::default());
    let place = parked(&waiters, &["a", "b"], &["x", "y"]);
    assert_eq!(waiters.lock().keys, 4);
    waiters.ring(&ready("a", "x"));
    drop(place);
    let line = waiters.lock();
    assert!(line.parked.is_empty() && line.by_key.is_empty() && line.rung.is_empty());
    assert_eq!(line.keys, 0);
}

#[test]
fn a_claim_for_too_many_pairs_is_refused() {
    let names: Vec<String> = (0..101).map(|number| format!("n{number}")).collect();
    let claim = Claim {
        queues: names.iter().map(|name| queue(name)).collect(),
        work_types: names.iter().map(|name| work_type(name)).collect(),
        ..samples::claim("w", "r")
    };
    let waiters = Arc::new(Waiters::default());
    assert!(matches!(waiters.join(&claim), Err(Reason::TooManyWaiters { .. })));
}

#[tokio::test]
async fn who_stands_aside_passes_the_bell_on_and_is_not_rung() {
    let waiters = Arc::new(Waiters::default());
    let mut first = parked(&waiters, &[], &[]);
    let mut second = parked(&waiters, &[], &[]);
    waiters.ring(&ready("a", "x"));
    assert!(is_rung(&first).await);
    first.park();
    first.stand_aside();
    assert!(is_rung(&second).await, "the bell of before");
    second.park();
    second.stay();
    first.park();
    waiters.ring(&ready("a", "x"));
    first.stand_aside();
    assert!(is_rung(&second).await, "a bell that rang meanwhile");
    second.park();
    second.stay();
    waiters.ring(&ready("a", "x"));
    assert!(is_rung(&second).await, "the first stands in line no more");
}

#[tokio::test]
async fn who_was_rung_parked_again_and_then_took_another_job_or_left_passes_the_bell_on() {
    for took_another in [true, false] {
        let waiters = Arc::new(Waiters::default());
        let mut first = parked(&waiters, &["b", "a"], &[]);
        let second = parked(&waiters, &["a"], &[]);
        waiters.ring(&ready("a", "x"));
        first.park();
        first.step_out();
        if took_another {
            first.leave_with([(&queue("b"), &work_type("x"))].into_iter());
        } else {
            drop(first);
        }
        assert!(is_rung(&second).await, "took another: {took_another}");
    }
}

#[tokio::test]
async fn one_job_spends_one_of_two_bells_of_its_kind() {
    let waiters = Arc::new(Waiters::default());
    let mut first = parked(&waiters, &[], &[]);
    waiters.ring(&ready("a", "x"));
    first.park();
    waiters.ring(&ready("a", "x"));
    let second = parked(&waiters, &[], &[]);
    let third = parked(&waiters, &[], &[]);
    first.leave_with([(&queue("a"), &work_type("x"))].into_iter());
    assert!(is_rung(&second).await);
    assert!(!is_rung(&third).await);
}

#[tokio::test]
async fn a_queue_that_opens_rings_all_who_take_its_jobs_and_nobody_else() {
    let waiters = Arc::new(Waiters::default());
    let fitting = [(&["b"][..], &[][..]), (&["c", "b"], &["x", "y"]), (&[], &[]), (&[], &["z"])]
        .map(|(queues, kinds)| parked(&waiters, queues, kinds));
    let others = [&["a"], &["c"], &["bb"]].map(|queues| parked(&waiters, queues, &[]));
    waiters.ring_all_of(&queue("b"));
    for place in &fitting {
        assert!(is_rung(place).await);
    }
    for place in &others {
        assert!(!is_rung(place).await);
    }
    assert_eq!(waiters.parked(), others.len());
}
