//! Letting time pass while traffic goes on.

use std::time::{Duration, Instant};

use super::traffic::Traffic;
use crate::setup::tell;

/// Between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// For so long; tells now and then how it stands, if that is wanted.
pub(super) fn last(time: Duration, traffic: &Traffic, is_verbose: bool) {
    let begun = Instant::now();
    while let Some(left) = time.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        pause(left.min(TELL_EVERY));
        if is_verbose {
            let seen = traffic.watch().so_far();
            tell(&format!(
                "  {:.0} s: {} elections, {} changes of members",
                begun.elapsed().as_secs_f64(),
                seen.elections.count(),
                seen.members.count()
            ));
        }
    }
}

pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}
