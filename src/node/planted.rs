//! What a bug in the rules would do, done to entries and answers on their way instead: the rules themselves
//! stay as they are. See [`raft::mutant`]; without its feature nothing in here does anything.

use raft::mutant::is_planted;

use crate::queue::{Answer, Applied, Claimed, ClockMs, Command, Delay, Entry, Found, Stamp, State};

const HOUR_MS: u64 = 3_600_000;

/// Changes an entry before it is applied.
pub(super) fn before(state: &State, entry: &mut Entry) {
    if is_planted("M5") {
        entry.commands.iter_mut().for_each(|command| complete_for_whoever_holds(state, command));
    }
    if is_planted("M7") {
        #[expect(clippy::disallowed_methods, reason = "the bug: apply looks at a clock")]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        entry.stamp.clock.0 += now.map_or(0, |now| u64::from(now.subsec_millis()));
    }
    if is_planted("M15") {
        for command in &mut entry.commands {
            let Command::Add(add) = command else { continue };
            add.jobs.iter_mut().for_each(|job| job.delay = Delay::None);
        }
    }
}

/// M5: whoever says that it has completed a job is believed, whatever its token.
fn complete_for_whoever_holds(state: &State, command: &mut Command) {
    let Command::Complete(complete) = command else { return };
    let Some(Found::Job(job)) = state.job(&complete.holding.job) else { return };
    if let (Some(_), Some(held)) = (&job.lease, job.attempts.last()) {
        complete.holding.token = held.token;
    }
}

/// Changes what came of an entry.
pub(super) fn after(state: &State, applied: &mut Applied) {
    if !is_planted("M6") {
        return;
    }
    // M6: a second grant has the token of the first.
    for outcome in &mut applied.outcomes {
        let Ok(Answer::Claimed(claimed)) = &mut outcome.result else { continue };
        for claimed in claimed {
            let Claimed::Granted(grant) = claimed else { continue };
            let Some(Found::Job(job)) = state.job(&grant.job) else { continue };
            if let [.., before, _] = &job.attempts[..] {
                grant.token = before.token;
            }
        }
    }
}

/// Changes a state that came from a snapshot.
pub(super) fn restored(state: &mut State) {
    // M8: a snapshot has no leases. That they are over is all that can be done to them from here.
    if is_planted("M8") {
        let stamp = Stamp { clock: ClockMs(state.clock().0 + HOUR_MS), wall: state.wall() };
        state.apply(&Entry { stamp, commands: vec![] });
    }
}
