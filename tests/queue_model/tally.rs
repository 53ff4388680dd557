//! What the runs have seen. Agreement about answers that never came would say nothing.

use std::collections::BTreeMap;

use quorate::queue::{
    Added, Answer, Applied, BeatStatus, Change, Claimed, JobState, Once, Rejection,
};

/// How often each kind of answer came.
pub(crate) type Tally = BTreeMap<String, u64>;

pub(crate) fn count(tally: &mut Tally, applied: &Applied) {
    for outcome in &applied.outcomes {
        let names = match &outcome.result {
            Ok(answer) => names_of(answer),
            Err(rejection) => vec![name_of(rejection)],
        };
        for name in names {
            *tally.entry(name).or_default() += 1;
        }
    }
    for change in &applied.changes {
        if let Change::Ended { state, .. } = change {
            *tally.entry(format!("ended {state:?}")).or_default() += 1;
        }
    }
}

/// # Panics
/// When an answer came less than a hundred times.
pub(crate) fn assert_has_seen_everything(tally: &Tally) {
    let first_and_again =
        |verb: &str| [Once::First, Once::Duplicate].map(|once| format!("{verb} {once:?}")).to_vec();
    let verbs = ["added", "started", "completed", "retrying", "failed", "released", "cancelled"];
    let mut expected: Vec<String> = verbs.into_iter().flat_map(first_and_again).collect();
    expected.extend(
        [
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
            "stale Some(Cancelled)",
            "full memory of attempts",
            "ended Expired",
            "ended Failed",
        ]
        .map(str::to_owned),
    );
    for name in expected {
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
        Answer::Heartbeat { items, .. } => items
            .iter()
            .map(|item| match item.status {
                BeatStatus::Extended { .. } => "beat extended".into(),
                BeatStatus::Lost => "beat lost".into(),
                BeatStatus::CancelRequested => "beat cancelled".into(),
            })
            .collect(),
        Answer::Completed { once, then } if then.is_empty() => named("completed", once),
        Answer::Completed { once, .. } => vec![format!("completed {once:?} with then")],
        Answer::Retrying { once, .. } => named("retrying", once),
        Answer::Failed(once) => named("failed", once),
        Answer::Released(once) => named("released", once),
        Answer::Cancelled(once) => named("cancelled", once),
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
        Rejection::Full { .. } => "full".into(),
        Rejection::Invalid { .. } => "invalid".into(),
        Rejection::DependencyCycle { .. } => "dependency cycle".into(),
    }
}
