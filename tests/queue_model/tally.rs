//! What the runs have seen. Agreement about answers that never came would say nothing.

use std::collections::BTreeMap;

use quorate::queue::{
    Added, Answer, Applied, BeatStatus, Change, Claimed, Command, Entry, JobState, Once, Rejection,
};

/// How often each kind of answer came.
pub(crate) type Tally = BTreeMap<String, u64>;

pub(crate) fn count(tally: &mut Tally, entry: &Entry, applied: &Applied) {
    for (command, outcome) in entry.commands.iter().zip(&applied.outcomes) {
        let is_operation = matches!(command, Command::Operate(_));
        let names = match &outcome.result {
            Ok(answer) => names_of(answer),
            Err(rejection) if is_operation => {
                vec![format!("operation: {}", name_of_refusal(rejection))]
            }
            Err(rejection) => vec![name_of(rejection)],
        };
        for name in names {
            *tally.entry(name).or_default() += 1;
        }
    }
    for change in &applied.changes {
        let name = match change {
            Change::Ended { state, .. } => format!("ended {state:?}"),
            Change::Ready { .. } => "ready".into(),
            Change::Opened { .. } => "opened".into(),
            Change::Purged { .. } => "purged a queue".into(),
        };
        *tally.entry(name).or_default() += 1;
    }
}

/// What answers as it did when it is repeated.
const REPEATABLE: &[&str] = &[
    "added",
    "started",
    "completed",
    "retrying",
    "failed",
    "released",
    "cancelled",
    "retried some",
    "retried none",
    "queue set",
    "queue made",
    "purged some",
    "purged none",
    "queue deleted",
    "drain set",
    "worker down",
];

const ONCE: &[&str] = &[
    "completed Duplicate with then",
    "claimed nothing",
    "claimed granted",
    "claimed lost",
    "beat extended",
    "beat lost",
    "beat cancelled",
    "not found",
    "wrong state",
    "id conflict",
    "request conflict",
    "full",
    "dependency cycle",
    "added blocked",
    "added doomed",
    "invalid",
    "stale None",
    "stale Some(Completed)",
    "stale Some(Failed)",
    "stale Some(Released)",
    "stale Some(Expired)",
    "stale Some(WorkerDown)",
    "stale Some(Cancelled)",
    "full memory of attempts",
    "ended Expired",
    "ended Failed",
    "ended Completed",
    "ended Cancelled",
    "ready",
    "opened",
    "purged a queue",
    "full of jobs",
    "full of bytes",
    "heartbeat told to drain",
    "operation: not found",
    "operation: wrong state",
    "operation: queue not found",
    "operation: queue not empty",
    "operation: request conflict",
    "operation: invalid max_jobs",
    "operation: invalid max_bytes",
    "operation: invalid default_lease_ms",
    "operation: invalid max_attempts",
    "operation: invalid max_leased",
    "operation: invalid rate_per_second",
    "operation: invalid state",
    "operation: invalid limit",
    "operation: full of jobs",
    "operation: full of bytes",
    "conflict of operations",
    "full memory of operations",
    "too many workers",
    "claim of a draining worker",
    "granted without a record",
    "seen by a heartbeat",
    "worker forgotten",
    "worker kept for what it holds",
    "stale session",
    "stale session that is down",
    "lost as down",
    "lost to a later session",
    "session not wholly ended by its entry",
    "purged met by the end of its session",
    "worker down without room",
    "closed by its rate",
    "closed by max_leased",
    "put back before a leased one of its group",
    "purged put back",
    "purged met by its timer",
    "purged met by its dependency",
    "purged met by a new dependant",
    "purged met by add",
    "purged met by a repeated claim",
    "purged met by start",
    "purged met by heartbeat",
    "purged met by complete",
    "purged met by fail",
    "purged met by release",
    "purged met by cancel",
    "purged met by retry of one",
    "purged met by retry of many",
    "purged met by purge",
    "purged met by delete",
];

/// # Panics
/// When an answer came less than a hundred times.
pub(crate) fn assert_has_seen_everything(tally: &Tally) {
    let onces = [Once::First, Once::Duplicate];
    let of_repeatable =
        REPEATABLE.iter().flat_map(|verb| onces.map(|once| format!("{verb} {once:?}")));
    for name in of_repeatable.chain(ONCE.iter().map(|name| (*name).to_owned())) {
        let seen = tally.get(&name).copied().unwrap_or(0);
        assert!(seen >= 100, "{name:?} was seen {seen} times; of {tally:#?}");
    }
}

fn names_of(answer: &Answer) -> Vec<String> {
    let named = |verb: &str, once: &Once| vec![format!("{verb} {once:?}")];
    match answer {
        Answer::Added(jobs) => jobs.iter().flat_map(names_of_added).collect(),
        Answer::Claimed(jobs) if jobs.is_empty() => vec!["claimed nothing".into()],
        Answer::Claimed(jobs) => jobs.iter().map(name_of_claimed).collect(),
        Answer::Started(once) => named("started", once),
        Answer::Heartbeat { items, drain } => items
            .iter()
            .map(|item| match item.status {
                BeatStatus::Extended { .. } => "beat extended".into(),
                BeatStatus::Lost => "beat lost".into(),
                BeatStatus::CancelRequested => "beat cancelled".into(),
            })
            .chain(drain.then(|| "heartbeat told to drain".into()))
            .collect(),
        Answer::Completed { once, then } if then.is_empty() => named("completed", once),
        Answer::Completed { once, .. } => vec![format!("completed {once:?} with then")],
        Answer::Retrying { once, .. } => named("retrying", once),
        Answer::Failed(once) => named("failed", once),
        Answer::Released(once) => named("released", once),
        Answer::Cancelled(once) => named("cancelled", once),
        Answer::Retried { once, jobs } if jobs.is_empty() => named("retried none", once),
        Answer::Retried { once, .. } => named("retried some", once),
        Answer::QueueSet { once, is_new: true } => named("queue made", once),
        Answer::QueueSet { once, .. } => named("queue set", once),
        Answer::Purged { once, count: 0 } => named("purged none", once),
        Answer::Purged { once, .. } => named("purged some", once),
        Answer::QueueDeleted(once) => named("queue deleted", once),
        Answer::DrainSet(once) => named("drain set", once),
        Answer::WorkerDown(once) => named("worker down", once),
    }
}

fn names_of_added(added: &Added) -> Vec<String> {
    let mut names = vec![format!("added {:?}", added.once)];
    if added.once == Once::First && added.state == JobState::Blocked {
        names.push("added blocked".into());
    }
    if added.once == Once::First && added.state == JobState::Failed {
        names.push("added doomed".into());
    }
    names
}

fn name_of_claimed(claimed: &Claimed) -> String {
    match claimed {
        Claimed::Granted(_) => "claimed granted".into(),
        Claimed::Lost { .. } => "claimed lost".into(),
    }
}

fn name_of(rejection: &Rejection) -> String {
    match rejection {
        Rejection::JobNotFound { .. } => "not found".into(),
        Rejection::StaleToken { ended_as, .. } => format!("stale {ended_as:?}"),
        Rejection::WrongState { .. } => "wrong state".into(),
        Rejection::JobIdConflict { .. } => "id conflict".into(),
        Rejection::RequestIdConflict => "request conflict".into(),
        Rejection::Full { reason, .. } if reason.contains("unfinished jobs") => {
            let of = if reason.contains("bytes") { "bytes" } else { "jobs" };
            format!("full of {of}")
        }
        Rejection::Full { .. } => "full".into(),
        Rejection::Invalid { .. } => "invalid".into(),
        Rejection::DependencyCycle { .. } => "dependency cycle".into(),
        Rejection::QueueNotFound { .. } => "queue not found".into(),
        Rejection::QueueNotEmpty { .. } => "queue not empty".into(),
        Rejection::StaleSession { is_down: true, .. } => "stale session that is down".into(),
        Rejection::StaleSession { .. } => "stale session".into(),
    }
}

/// Of an operation: which field, too.
fn name_of_refusal(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Invalid { field, .. } => format!("invalid {field}"),
        other => name_of(other),
    }
}
