//! `queue set-queue`: what a queue is held to.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use clap::Args;

use super::{
    Exit, Failure, input, queues,
    report::{Report, Table, serde_name},
    session::Session,
};
use crate::{
    client::Answer,
    config,
    queue::{MAX_ATTEMPTS_MAX, Patch, QueueName, RATE_MAX},
    wire::{SetQueueRequest, SetQueueResponse},
};

/// The greatest count of the contract.
const COUNT_MAX: u64 = (1 << 53) - 1;

const EXAMPLES: &str = "\
Examples:
  queue set-queue mail --max-jobs 100000 --rate 50
  queue set-queue mail --max-jobs none             no limit again
  queue set-queue mail                             make it, unless it is there

What is not named stays as it is.";

/// Change what a queue is held to; makes it when there is none.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SetQueueArgs {
    /// The queue.
    #[arg(value_name = "QUEUE", value_parser = QueueName::parse)]
    queue: QueueName,
    /// The most unfinished jobs; an add beyond is refused.
    #[arg(long, value_name = "N|none", value_parser = count)]
    max_jobs: Option<Setting<u64>>,
    /// The most payload bytes of unfinished jobs; an add beyond is refused.
    #[arg(long, value_name = "N|none", value_parser = count)]
    max_bytes: Option<Setting<u64>>,
    /// The most jobs leased at a time; a claim beyond finds nothing.
    #[arg(long, value_name = "N|none", value_parser = count)]
    max_leased: Option<Setting<u64>>,
    /// The most grants in a second; a claim beyond finds nothing.
    #[arg(long, value_name = "N|none", value_parser = rate)]
    rate: Option<Setting<u32>>,
    /// The lease of jobs added without one; `none` is 30s.
    #[arg(long, value_name = "DURATION|none", value_parser = lease)]
    default_lease: Option<Setting<u64>>,
    /// The attempts of jobs added without a number; `none` is 3.
    #[arg(long, value_name = "N|none", value_parser = attempts)]
    max_attempts: Option<Setting<u32>>,
}

/// What to make of a setting: a value, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Setting<T>(Option<T>);

impl SetQueueArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let change = SetQueueRequest {
            max_jobs: patch(self.max_jobs),
            max_bytes: patch(self.max_bytes),
            max_leased: patch(self.max_leased),
            rate_per_second: patch(self.rate),
            default_lease_ms: patch(self.default_lease),
            max_attempts: patch(self.max_attempts),
            ..SetQueueRequest::default()
        };
        let answer = session.client.set_queue(&self.queue, change).await?;
        session.end(&report(&answer), Exit::OK)
    }
}

fn patch<T>(setting: Option<Setting<T>>) -> Patch<T> {
    match setting {
        None => Patch::Keep,
        Some(Setting(None)) => Patch::Clear,
        Some(Setting(Some(value))) => Patch::Set(value),
    }
}

/// Reads `none`, or what `read` makes of any other text.
fn setting<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Setting<T>, String> {
    if text == "none" { Ok(Setting(None)) } else { read(text).map(|value| Setting(Some(value))) }
}

fn count(text: &str) -> Result<Setting<u64>, String> {
    setting(text, |text| within(text, 1..=COUNT_MAX))
}

fn rate(text: &str) -> Result<Setting<u32>, String> {
    setting(text, |text| within(text, 1..=RATE_MAX))
}

fn attempts(text: &str) -> Result<Setting<u32>, String> {
    setting(text, |text| within(text, 1..=MAX_ATTEMPTS_MAX))
}

fn lease(text: &str) -> Result<Setting<u64>, String> {
    setting(text, |text| config::duration(text).map(input::milliseconds))
}

fn within<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("must be {} to {}, or `none`", range.start(), range.end()))
}

fn report(answer: &Answer<SetQueueResponse>) -> Report {
    let done = serde_name(&answer.value.status);
    let mut pairs = queues::pairs(&answer.value.queue);
    pairs.insert(1, ("status".into(), done.clone()));
    Report {
        json: answer.body.clone(),
        items: None,
        plain: vec![done],
        table: Table {
            header: vec![],
            rows: pairs.iter().map(|(name, value)| vec![name.into(), value.into()]).collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_setting_is_a_value_or_none_or_stays() {
        assert_eq!(patch(Some(count("5").unwrap())), Patch::Set(5));
        assert_eq!(patch(Some(count("none").unwrap())), Patch::Clear);
        assert_eq!(patch(Some(lease("1m").unwrap())), Patch::Set(60_000));
        assert_eq!(patch::<u64>(None), Patch::Keep);
    }

    #[test]
    fn a_setting_out_of_its_range_is_usage_with_the_range() {
        for (words, hint) in [
            (["--max-jobs", "0"], "must be 1 to 9007199254740991, or `none`"),
            (["--rate", "1.5"], "must be 1 to 1000000, or `none`"),
            (["--max-attempts", "1001"], "must be 1 to 1000, or `none`"),
            (["--default-lease", "60"], "has no unit"),
        ] {
            let error = Cli::try_parse_from([&["queue", "set-queue", "q"], &words[..]].concat());
            let error = error.unwrap_err().to_string();
            assert!(error.contains(hint), "{words:?}: {error}");
        }
    }
}
