//! Letting time pass while traffic goes on.

use std::time::{Duration, Instant};

use super::traffic::Traffic;
use crate::setup::tell;

/// Between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// For so long; tells now and then how it stands, if that is wanted.
pub(super) fn last(time: Duration, traffic: &Traffic, is_verbose: bool) {
    last_looking(time, traffic, is_verbose, || {});
}

/// The same, and looks at something again and again meanwhile.
pub(super) fn last_looking(
    time: Duration,
    traffic: &Traffic,
    is_verbose: bool,
    mut look: impl FnMut(),
) {
    let begun = Instant::now();
    let mut told = begun;
    while let Some(left) = time.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        pause(left.min(LOOK_EVERY));
        look();
        if is_verbose && told.elapsed() >= TELL_EVERY {
            told = Instant::now();
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
