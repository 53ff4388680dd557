//! The shape of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{
    add, add_voter, backup, cancel, claim, complete, completions, delete_queue, drain, events,
    fail, get, heartbeat, help, history, keygen, leader, list, members, pause, purge, queues,
    release, remove_voter, replace_voter, resume, retry, run, serve, set_queue, status, transfer,
    undrain, worker, workers,
};
use crate::config::{Color, Flag, Format};

const EXAMPLES: &str = "\
Examples:
  queue serve                                   a single voter on 127.0.0.1:8770, ready to use
  queue add --payload '{\"n\": 1}'                add a job, print its id
  queue claim --worker w1 --wait 20s            print `id token` when there is work
  queue complete ID --token TOKEN
  queue run -- make test                        run a command as a job, exit with its status

Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict or lost lease, 5 unavailable or timed
out, 6 denied, 7 the waited-for job failed, 8 nothing to claim, 130 interrupted.";

/// A Raft-replicated work queue in one binary.
#[derive(Debug, Parser)]
#[command(name = "queue", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(help_template = help::template())]
pub struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Common options")]
pub(super) struct Global {
    /// Base URLs of the servers, comma-separated [env: `QUEUE_ADDR`] [default:
    /// `http://127.0.0.1:8770`].
    #[arg(long, global = true, value_name = "URL,…", hide_short_help = true)]
    pub(super) addr: Option<String>,
    /// How to print [default: table on a terminal, else plain].
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub(super) output: Option<Format>,
    /// When to colour.
    #[arg(long, global = true, value_name = "WHEN", hide_short_help = true)]
    pub(super) color: Option<Color>,
    /// How long a call may take, apart from the waiting that it asks for [default: 10s].
    #[arg(long, global = true, value_name = "DURATION", hide_short_help = true)]
    pub(super) timeout: Option<String>,
    /// A configuration file, .toml or .yaml [env: `QUEUE_CONFIG`].
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(super) config: Option<PathBuf>,
}

impl Global {
    /// The flags given, as settings.
    pub(super) fn flags(&self) -> Vec<Flag> {
        let name = |word: Option<&str>| word.map(str::to_owned);
        [
            ("addr", self.addr.clone()),
            ("output", name(self.output.map(format_name))),
            ("color", name(self.color.map(color_name))),
            ("timeout", self.timeout.clone()),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}

const fn format_name(format: Format) -> &'static str {
    match format {
        Format::Table => "table",
        Format::Json => "json",
        Format::Jsonl => "jsonl",
        Format::Plain => "plain",
    }
}

const fn color_name(color: Color) -> &'static str {
    match color {
        Color::Auto => "auto",
        Color::Always => "always",
        Color::Never => "never",
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a node; without flags a single voter, ready to use.
    Serve(Box<serve::ServeArgs>),
    /// Run a command as a job, and exit with its status.
    Run(run::RunArgs),
    /// Add a job, or a file of jobs.
    Add(add::AddArgs),
    /// Claim jobs and run a command for each, until told to stop.
    Worker(Box<worker::WorkerArgs>),
    /// Claim jobs for a worker; prints `id token`.
    Claim(claim::ClaimArgs),
    /// Finish a claimed job.
    Complete(complete::CompleteArgs),
    /// Give up an attempt; the job is retried while it has attempts.
    Fail(fail::FailArgs),
    /// Give a claimed job back, its attempt not counted.
    Release(release::ReleaseArgs),
    /// Extend the lease of a claimed job.
    Heartbeat(heartbeat::HeartbeatArgs),
    /// Call a job off.
    Cancel(cancel::CancelArgs),
    /// Show a job, or wait for its end.
    Get(get::GetArgs),
    /// List jobs, in the order in which they were added.
    List(list::ListArgs),
    /// Put finished jobs back, with a fresh count of attempts.
    Retry(retry::RetryArgs),
    /// Show finished jobs, the last one first.
    History(history::HistoryArgs),
    /// Show the node that answers and the totals of the queue.
    Status(status::StatusArgs),
    /// Show who leads.
    Leader(leader::LeaderArgs),
    /// Show the members of the cluster and how they are, by gossip.
    Members(members::MembersArgs),
    /// Show what happens, as it happens: changes of leader, members, jobs.
    Events(events::EventsArgs),
    /// Have the leader hand over to a voter; prints who leads then.
    Transfer(transfer::TransferArgs),
    /// Make a node a voter, once it has caught up; prints `added`.
    AddVoter(add_voter::AddVoterArgs),
    /// Take a voter's vote; prints `removed`.
    RemoveVoter(remove_voter::RemoveVoterArgs),
    /// Give a dead voter's place to a fresh directory; prints `replaced`.
    ReplaceVoter(replace_voter::ReplaceVoterArgs),
    /// Make a key that seals the gossip.
    Keygen(keygen::KeygenArgs),
    /// Copy the whole queue into a file.
    Backup(backup::BackupArgs),
    /// Show the queues and what they are held to, or one of them.
    Queues(queues::QueuesArgs),
    /// Change what a queue is held to; makes it when there is none.
    SetQueue(set_queue::SetQueueArgs),
    /// Delete a queue that has no unfinished job, and its settings.
    DeleteQueue(delete_queue::DeleteQueueArgs),
    /// Have claims pass a queue over.
    Pause(pause::PauseArgs),
    /// Have claims find a paused queue's jobs again.
    Resume(resume::ResumeArgs),
    /// Cancel every unfinished job of a queue, without asking; prints how many.
    Purge(purge::PurgeArgs),
    /// Show the workers, or one of them.
    Workers(workers::WorkersArgs),
    /// Have a worker be granted nothing more; it is told at its next heartbeat.
    Drain(drain::DrainArgs),
    /// Have a drained worker be granted jobs again.
    Undrain(undrain::UndrainArgs),
    /// Print what a shell needs to complete the words after `queue`.
    Completions(completions::CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_become_settings() {
        let words = ["queue", "leader", "--addr", "a:1", "-o", "jsonl", "--color", "never"];
        let cli = Cli::try_parse_from(words).unwrap();
        let expected = [("addr", "a:1"), ("output", "jsonl"), ("color", "never")];
        assert_eq!(cli.global.flags(), expected.map(|(key, value)| (key, value.to_owned())));
    }

    /// api 4.output.every
    #[test]
    fn every_verb_takes_an_output_format() {
        let mut command = Cli::command();
        command.build();
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let formats =
                verb.get_arguments().find(|argument| argument.get_long() == Some("output"));
            assert!(formats.is_some(), "{}", verb.get_name());
        }
    }

    #[test]
    fn a_wrong_flag_is_usage_with_a_hint() {
        let error = Cli::try_parse_from(["queue", "add", "--priorty", "3"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--priority"), "{error}");
        assert!(Cli::try_parse_from(["queue", "claim"]).is_err(), "a worker is required");
    }
}
