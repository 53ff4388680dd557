//! What the verbs that change voters share: they ask until it is done, and say how far it is.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    Exit, Failure,
    report::{Cell, Report, Table},
    session::Session,
};
use crate::{
    client::{Answer, Client, ClientError},
    config::duration,
    wire::{VoterRequest, VoterResponse},
};

/// For how long the server is asked to wait at a time, ms: how often the progress is new.
const LOOK_MS: u64 = 1000;

/// How long to wait.
#[derive(Debug, Args)]
pub(super) struct WaitArg {
    /// How long to wait until it is done; it goes on without anybody waiting.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub(super) wait: Duration,
}

/// Asks for a change until it is made.
pub(super) async fn change(
    session: &Session,
    node_id: String,
    peer_addr: Option<String>,
    wait: &WaitArg,
    ask: impl AsyncFn(&Client, &VoterRequest) -> Result<Answer<VoterResponse>, ClientError>,
) -> Result<Exit, Failure> {
    let until = Instant::now() + wait.wait;
    let is_shown = std::io::stderr().is_terminal();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let wait_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).min(LOOK_MS);
        let request = VoterRequest {
            node_id: node_id.clone(),
            peer_addr: peer_addr.clone(),
            wait_ms: Some(wait_ms),
        };
        let answer = ask(&session.client, &request).await?;
        if is_done(&answer.value) {
            return session.end(&report(&answer), Exit::OK);
        }
        let progress = progress(&answer.value);
        if Instant::now() >= until {
            let message = format!("{progress}; it goes on, and the same command follows it");
            return Err(Failure::new(Exit::UNAVAILABLE, "in_progress", message));
        }
        if is_shown {
            // Nobody is told less if it cannot be shown.
            drop(write!(std::io::stderr(), "\r\x1b[K{progress}\r"));
        }
    }
}

fn is_done(answer: &VoterResponse) -> bool {
    matches!(answer.status.as_str(), "added" | "removed" | "replaced")
}

fn progress(answer: &VoterResponse) -> String {
    let VoterResponse { node_id, status, match_index, target_index, .. } = answer;
    match (match_index, target_index) {
        (Some(matched), Some(target)) => {
            format!("{node_id}: catching up, {matched} of {target} entries")
        }
        _ => format!("{node_id}: {}", status.replace('_', " ")),
    }
}

fn report(answer: &Answer<VoterResponse>) -> Report {
    let VoterResponse { node_id, status, duplicate, .. } = &answer.value;
    let mut pairs: Vec<(&'static str, Cell)> =
        vec![("voter", node_id.into()), ("status", status.into())];
    if *duplicate {
        pairs.push(("duplicate", "yes: there was nothing left to do".into()));
    }
    Report {
        json: answer.body.clone(),
        items: None,
        plain: vec![status.clone()],
        table: Table::of_pairs(pairs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_line_for_people() {
        let underway =
            r#"{"status":"catching_up","node_id":"n4","match_index":7,"target_index":90}"#;
        let underway: VoterResponse = serde_json::from_str(underway).unwrap();
        assert!(!is_done(&underway));
        assert_eq!(progress(&underway), "n4: catching up, 7 of 90 entries");
    }
}
