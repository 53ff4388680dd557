//! Claims about recording and reading, one at a time, with a clock that is moved by hand.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::node::{Host, MemberState, clock::tests::HandClock};

struct Bench {
    clock: Arc<HandClock>,
    events: Arc<Events>,
}

impl Bench {
    fn new(listeners: usize, events: usize) -> Self {
        let clock = Arc::new(HandClock { monotonic: AtomicU64::new(0), wall: AtomicU64::new(0) });
        let limits = Limits { listeners, events, ..Limits::default() };
        let events = Events::new(limits, 0xa, Arc::clone(&clock) as Arc<dyn Clock>);
        Self { clock, events }
    }

    fn record(&self, names: impl IntoIterator<Item = u64>) {
        for name in names {
            self.events.record_one(name, host(name));
        }
    }

    fn listen(&self, after: Option<EventId>) -> Cursor {
        self.events.listen(after).unwrap()
    }
}

fn host(name: u64) -> Happening {
    let state = MemberState::Alive;
    Happening::Host(Host { name: name.to_string(), kind: None, state, incarnation: 1 })
}

fn all(_: &Happening) -> bool {
    true
}

fn names(taken: &Taken) -> Vec<u64> {
    taken.events.iter().map(|event| event.at_ms).collect()
}

#[tokio::test]
async fn a_listener_hears_what_happens_from_then_on_in_its_order() {
    let bench = Bench::new(2, 10);
    bench.record([1]);
    assert!(!bench.events.is_recording(), "nobody listens");
    let mut cursor = bench.listen(None);
    let begun_at = cursor.position();
    bench.record([2, 3]);
    let taken = cursor.next(&all).await;
    assert_eq!((names(&taken), &taken.gap), (vec![2, 3], &None));
    assert_eq!(taken.events[1].id, cursor.position());
    assert_eq!(taken.events[1].id.number, begun_at.number + 2);
}

#[tokio::test]
async fn a_listener_that_waits_is_woken_and_one_that_wants_nothing_of_it_waits_on() {
    let bench = Bench::new(2, 10);
    let mut cursor = bench.listen(None);
    let events = Arc::clone(&bench.events);
    let task = tokio::spawn(async move {
        let wants = |what: &Happening| *what == host(4);
        names(&cursor.next(&wants).await)
    });
    for name in 3..=4 {
        tokio::task::yield_now().await;
        events.record_one(name, host(name));
    }
    assert_eq!(task.await.unwrap(), [4]);
}

#[tokio::test]
async fn who_names_the_last_event_that_it_had_misses_nothing() {
    let bench = Bench::new(2, 10);
    let mut cursor = bench.listen(None);
    bench.record([1, 2]);
    let had = cursor.next(&all).await.events[0].id;
    drop(cursor);
    bench.record([3]);
    let taken = bench.listen(Some(had)).next(&all).await;
    assert_eq!((names(&taken), taken.gap), (vec![2, 3], None));
}

#[tokio::test]
async fn who_reads_too_slowly_is_told_how_many_it_missed_and_goes_on() {
    let bench = Bench::new(1, 3);
    let mut cursor = bench.listen(None);
    let before = cursor.position();
    bench.record(1..=5);
    let taken = cursor.next(&all).await;
    let until = EventId { number: before.number + 2, ..before };
    let reason = GapReason::TooSlow;
    assert_eq!(taken.gap, Some(Missing { reason, after: before, until, missed: Some(2) }));
    assert_eq!(names(&taken), [3, 4, 5]);
    let figures = bench.events.figures();
    assert_eq!((figures.recorded, figures.missed, figures.gaps["too_slow"]), (5, 2, 1));
}

#[tokio::test]
async fn an_id_that_means_nothing_here_is_a_gap_and_never_another_event() {
    let bench = Bench::new(1, 2);
    let mut cursor = bench.listen(None);
    bench.record(1..=2);
    let last = cursor.next(&all).await.events[1].id;
    drop(cursor);
    let strange = EventId { run: 0xb, number: last.number };
    let ahead = EventId { number: last.number + 10, ..last };
    for after in [strange, ahead] {
        let mut cursor = bench.listen(Some(after));
        bench.record([7]);
        let taken = cursor.next(&all).await;
        let gap = taken.gap.as_ref().unwrap();
        assert_eq!((gap.reason, gap.after, gap.missed), (GapReason::OtherRun, after, None));
        assert_eq!(names(&taken), [7], "what comes from now on");
    }
    bench.record(8..=9);
    let taken = bench.listen(Some(last)).next(&all).await;
    assert_eq!(
        taken.gap.as_ref().map(|gap| (gap.reason, gap.missed)),
        Some((GapReason::TooOld, Some(2)))
    );
    assert_eq!(names(&taken), [8, 9], "what is left");
}

#[tokio::test]
async fn events_are_kept_for_a_while_after_the_last_listener_and_then_no_more() {
    let bench = Bench::new(1, 10);
    let had = bench.listen(None).position();
    bench.clock.monotonic.fetch_add(whole_ms(KEPT_FOR), Ordering::Relaxed);
    bench.record([1]);
    assert_eq!(names(&bench.listen(Some(had)).next(&all).await), [1]);
    bench.clock.monotonic.fetch_add(whole_ms(KEPT_FOR) + 1, Ordering::Relaxed);
    bench.record([2, 3]);
    assert!(!bench.events.is_recording());
    let mut cursor = bench.listen(Some(had));
    bench.record([4]);
    let taken = cursor.next(&all).await;
    assert_eq!(
        taken.gap.as_ref().map(|gap| (gap.reason, gap.missed)),
        Some((GapReason::TooOld, None))
    );
    assert_eq!(names(&taken), [4]);
}

#[tokio::test]
async fn who_comes_back_late_and_is_slow_on_top_is_told_once() {
    let bench = Bench::new(1, 2);
    let had = bench.listen(None).position();
    bench.record(1..=3);
    let mut cursor = bench.listen(Some(had));
    assert_eq!(cursor.position(), had, "until it is told it may as well ask again");
    bench.record(4..=5);
    let taken = cursor.next(&all).await;
    let until = EventId { number: had.number + 3, ..had };
    let reason = GapReason::TooOld;
    assert_eq!(taken.gap, Some(Missing { reason, after: had, until, missed: Some(3) }));
    assert_eq!(names(&taken), [4, 5]);
}

#[tokio::test]
async fn a_gap_of_the_nodes_own_reaches_everyone() {
    let bench = Bench::new(1, 10);
    let mut cursor = bench.listen(None);
    let gap =
        Gap { reason: GapReason::Snapshot, after: None, missed: None, rev: crate::queue::Rev(9) };
    bench.events.record_one(1, Happening::Gap(gap.clone()));
    let taken = cursor.next(&|_: &Happening| false).await;
    assert_eq!(taken.events[0].what, Happening::Gap(gap));
    assert_eq!(bench.events.figures().gaps["snapshot"], 1);
}

#[test]
fn places_are_bounded_and_given_back() {
    let bench = Bench::new(1, 10);
    let cursor = bench.listen(None);
    assert!(matches!(bench.events.listen(None), Err(Reason::TooManyWaiters { .. })));
    assert_eq!(bench.events.figures().listeners, 1);
    drop(cursor);
    bench.listen(None);
}

#[tokio::test]
async fn one_turn_takes_so_many_and_no_more() {
    let bench = Bench::new(1, 4096);
    let mut cursor = bench.listen(None);
    bench.record(1..=1_000);
    assert_eq!(cursor.next(&all).await.events.len(), TAKEN_MAX);
    let late = |what: &Happening| *what == host(1_000);
    assert_eq!(names(&cursor.next(&late).await), [1_000]);
}
