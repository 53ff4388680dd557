//! A line in the log, now and then, about datagrams that were dropped.

use crate::Figures;

/// The least pause between two lines, µs: whoever sends garbage does not fill the log.
const EVERY_US: u64 = 60_000_000;

/// What was complained about last, and when the next line may come.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    told: Figures,
    due_us: u64,
}

impl Complaints {
    /// Warns if more was dropped since the last warning, and that is a while ago.
    pub(crate) fn look(&mut self, figures: Figures, now_us: u64) {
        let unopened = figures.dropped_unopened - self.told.dropped_unopened;
        let stale = figures.dropped_stale - self.told.dropped_stale;
        let malformed = figures.dropped_malformed - self.told.dropped_malformed;
        if unopened + stale + malformed == 0 || now_us < self.due_us {
            return;
        }
        self.told = figures;
        self.due_us = now_us + EVERY_US;
        tracing::warn!(
            unopened,
            stale,
            malformed,
            "datagrams were dropped: unopened ones are of another key or cluster, stale ones of a \
             clock that is more than 30 s off"
        );
    }
}
