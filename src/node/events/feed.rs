//! Where events are recorded and read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Event, EventId, Gap, GapReason, Happening,
    ring::{Kept, Ring, Start},
};
use crate::{
    node::{Clock, Limits, Reason, clock::whole_ms},
    queue::{Transition, WallMs},
};

/// For how long events are kept after the last listener has left, so that one who comes back misses
/// nothing.
pub const KEPT_FOR: Duration = Duration::from_mins(5);
/// What a client is told to wait when all places are taken, ms.
const RETRY_AFTER_MS: u64 = 5_000;
/// The most events that are handed out, and looked at, under one lock.
const TAKEN_MAX: usize = 64;
const LOOKED_AT_MAX: usize = 512;

/// This node's events.
#[derive(Debug)]
pub(in crate::node) struct Events {
    run: u64,
    places: usize,
    clock: Arc<dyn Clock>,
    is_recording: AtomicBool,
    inner: Mutex<Inner>,
    /// The number of the next event.
    next: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    ring: Ring,
    listeners: usize,
    /// When the last listener left, by the monotonic clock, while there is none.
    deserted_ms: u64,
    recorded: u64,
    gaps: BTreeMap<GapReason, u64>,
    missed: u64,
}

/// What is counted of a node's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFigures {
    /// Those who listen now.
    pub listeners: usize,
    /// Events recorded since the node started.
    pub recorded: u64,
    /// Gaps that listeners were told of, by their reason.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Events that were missed in them, as far as that is known.
    pub missed: u64,
}

/// One listener's place.
#[derive(Debug)]
pub(in crate::node) struct Cursor {
    events: Arc<Events>,
    seen: watch::Receiver<u64>,
    /// The number of the event to look at next.
    next: u64,
    /// What to tell before anything else.
    gap: Option<Missing>,
}

/// What a listener does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) reason: GapReason,
    /// The last that it has had.
    pub(super) after: EventId,
    /// The last that it does not get.
    pub(super) until: EventId,
    pub(super) missed: Option<u64>,
}

/// What a cursor found.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) gap: Option<Missing>,
    pub(super) events: Vec<Event>,
    /// Whether there may be more already.
    has_more: bool,
}

impl Events {
    pub(in crate::node) fn new(limits: Limits, run: u64, clock: Arc<dyn Clock>) -> Arc<Self> {
        let ring = Ring::new(limits.events);
        Arc::new(Self {
            run,
            places: limits.listeners,
            clock,
            is_recording: AtomicBool::new(false),
            next: watch::Sender::new(ring.next()),
            inner: Mutex::new(Inner {
                ring,
                listeners: 0,
                deserted_ms: 0,
                recorded: 0,
                gaps: GapReason::ALL.map(|reason| (reason, 0)).into(),
                missed: 0,
            }),
        })
    }

    /// Whether there is any sense in making an event. All that costs anything comes after this.
    pub(in crate::node) fn is_recording(&self) -> bool {
        // Whoever listens has been told so before it can cause what it wants to hear of.
        self.is_recording.load(Ordering::Acquire)
    }

    /// Records what became of jobs in one entry.
    pub(in crate::node) fn record_jobs(&self, at: WallMs, transitions: Vec<Transition>) {
        let WallMs(at_ms) = at;
        let events = transitions.into_iter().map(Happening::Job);
        self.record(events.map(|what| Kept { at_ms, what }));
    }

    /// Records one thing that happened.
    pub(in crate::node) fn record_one(&self, at_ms: u64, what: Happening) {
        if self.is_recording() {
            self.record([Kept { at_ms, what }]);
        }
    }

    fn record(&self, events: impl IntoIterator<Item = Kept>) {
        let mut inner = self.lock();
        if inner.listeners == 0 {
            let deserted_for = self.clock.monotonic_ms().saturating_sub(inner.deserted_ms);
            if deserted_for > whole_ms(KEPT_FOR) {
                self.is_recording.store(false, Ordering::Release);
                inner.ring.interrupt();
                return;
            }
        }
        let before = inner.ring.next();
        events.into_iter().for_each(|event| inner.ring.push(event));
        let next = inner.ring.next();
        inner.recorded += next - before;
        drop(inner);
        if next > before {
            // Two that record at once may come here in either order.
            self.next.send_if_modified(|last| {
                let is_later = next > *last;
                *last = next.max(*last);
                is_later
            });
        }
    }

    /// Takes a place, after that event or after the last one.
    pub(in crate::node) fn listen(
        self: &Arc<Self>,
        after: Option<EventId>,
    ) -> Result<Cursor, Reason> {
        let mut inner = self.lock();
        if inner.listeners >= self.places {
            return Err(Reason::TooManyWaiters { retry_after_ms: RETRY_AFTER_MS });
        }
        inner.listeners += 1;
        if !self.is_recording() {
            inner.ring.interrupt();
            self.is_recording.store(true, Ordering::Release);
        }
        let (next, gap) = self.start(&inner.ring, after);
        Ok(Cursor { events: Arc::clone(self), seen: self.next.subscribe(), next, gap })
    }

    /// The number to begin with, and what is missing before it.
    fn start(&self, ring: &Ring, after: Option<EventId>) -> (u64, Option<Missing>) {
        let Some(after) = after else { return (ring.next(), None) };
        let start = if after.run == self.run { ring.after(after.number) } else { Start::Unknown };
        let (next, reason, missed) = match start {
            Start::At(number) => return (number, None),
            Start::Behind { first, missed } => (first, GapReason::TooOld, missed),
            Start::Unknown => (ring.next(), GapReason::OtherRun, None),
        };
        (next, Some(Missing { reason, after, until: self.id(next - 1), missed }))
    }

    fn id(&self, number: u64) -> EventId {
        EventId { run: self.run, number }
    }

    /// What is counted.
    pub(in crate::node) fn figures(&self) -> EventFigures {
        let inner = self.lock();
        EventFigures {
            listeners: inner.listeners,
            recorded: inner.recorded,
            gaps: inner.gaps.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
            missed: inner.missed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while the events are locked")
    }
}

impl Cursor {
    /// What to go on after, when all that was taken has been heard.
    pub(super) fn position(&self) -> EventId {
        let looked_at = || self.events.id(self.next - 1);
        self.gap.as_ref().map_or_else(looked_at, |untold| untold.after)
    }

    /// Takes the next events that are wanted, waiting for them. Dropped before that, it has moved on over
    /// what was not wanted; see [`Cursor::position`].
    pub(super) async fn next(&mut self, wanted: &(impl Fn(&Happening) -> bool + Sync)) -> Taken {
        let mut looks = 0;
        loop {
            self.seen.borrow_and_update();
            let taken = self.take(wanted);
            looks += 1;
            if taken.gap.is_some() || !taken.events.is_empty() {
                return taken;
            }
            if !taken.has_more {
                // The sender is in `events`, which is held here.
                let _ = self.seen.changed().await;
            } else if looks % 8 == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn take(&mut self, wanted: &impl Fn(&Happening) -> bool) -> Taken {
        let mut inner = self.events.lock();
        let mut taken = Taken { gap: self.gap.take(), ..Taken::default() };
        if let Start::Behind { first, missed } = inner.ring.after(self.next - 1) {
            let (after, until) = (self.events.id(self.next - 1), self.events.id(first - 1));
            let slow = Missing { reason: GapReason::TooSlow, after, until, missed };
            // It may have been behind to begin with, and has fallen back further since.
            taken.gap = Some(taken.gap.map_or(slow, |untold| untold.and(slow)));
            self.next = first;
        }
        for _ in 0..LOOKED_AT_MAX {
            let Some(kept) = inner.ring.get(self.next).filter(|_| taken.events.len() < TAKEN_MAX)
            else {
                break;
            };
            if matches!(kept.what, Happening::Gap(_)) || wanted(&kept.what) {
                let Kept { at_ms, what } = kept.clone();
                taken.events.push(Event { id: self.events.id(self.next), at_ms, what });
            }
            self.next += 1;
        }
        taken.has_more = self.next < inner.ring.next();
        if let Some(gap) = &taken.gap {
            inner.count(gap.reason, gap.missed);
        }
        for event in &taken.events {
            if let Happening::Gap(Gap { reason, missed, .. }) = &event.what {
                inner.count(*reason, *missed);
            }
        }
        taken
    }
}

impl Missing {
    /// This and what is missing right after it, as one.
    fn and(self, further: Self) -> Self {
        let missed = self.missed.zip(further.missed).map(|(before, after)| before + after);
        Self { until: further.until, missed, ..self }
    }
}

impl Inner {
    fn count(&mut self, reason: GapReason, missed: Option<u64>) {
        *self.gaps.entry(reason).or_default() += 1;
        self.missed += missed.unwrap_or(0);
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let now_ms = self.events.clock.monotonic_ms();
        let mut inner = self.events.lock();
        inner.listeners -= 1;
        inner.deserted_ms = now_ms;
    }
}

#[cfg(test)]
mod tests;
