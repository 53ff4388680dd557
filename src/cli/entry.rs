//! Parse, run, exit code.

use std::{ffi::OsString, future::Future, process::ExitCode, sync::Arc};

use clap::Parser as _;

use super::{
    Exit, Failure,
    args::{Cli, Command},
    report::complain,
    session::{Session, look},
};
use crate::config::{ClientConfig, Raw, Side, Surroundings};

/// The whole of the process: reads its arguments and its surroundings once, runs the verb, and says
/// with which code to exit.
pub fn main() -> ExitCode {
    main_over(Arc::new(raft::disk::OsDisk))
}

/// The same, with `serve` over another disk: what the tests of power loss start.
pub fn main_over(disk: Arc<dyn raft::Disk>) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let surroundings = Surroundings::of_this_process();
    let mut is_json = asks_for_json(&arguments);
    let ended = match Cli::try_parse_from(&arguments) {
        Ok(cli) => run(cli, &surroundings, disk, &mut is_json),
        Err(error) if error.use_stderr() && is_json => Err(Failure::usage(first_line(&error))),
        Err(error) => {
            // A reader that has gone away has seen enough of the help.
            drop(error.print());
            return Exit(u8::try_from(error.exit_code()).unwrap_or(Exit::USAGE.0)).into();
        }
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            complain(&failure.render(is_json));
            failure.exit.into()
        }
    }
}

fn run(
    cli: Cli,
    surroundings: &Surroundings,
    disk: Arc<dyn raft::Disk>,
    is_json: &mut bool,
) -> Result<Exit, Failure> {
    let config = cli.global.config.as_deref();
    let raw = Raw::load(Side::Client, &cli.global.flags(), config, surroundings)?;
    let config = ClientConfig::resolve(&raw, surroundings)?;
    let look = look(&config, surroundings);
    *is_json = look.is_json();
    let session = Session::new(&config, look)?;
    let command = match cli.command {
        Command::Serve(args) => {
            return args.run(cli.global.config.as_deref(), surroundings, look, disk);
        }
        Command::Run(args) => return args.run(&config, surroundings),
        Command::Worker(args) => return args.run(&config, surroundings),
        Command::Completions(args) => return args.run(&session),
        Command::Keygen(args) => return args.run(&session),
        command => command,
    };
    block_on(async {
        match command {
            Command::Serve(_)
            | Command::Run(_)
            | Command::Worker(_)
            | Command::Completions(_)
            | Command::Keygen(_) => {
                unreachable!("they need no runtime, or have one of their own")
            }
            Command::Add(args) => interruptible(args.run(&session)).await,
            Command::Claim(args) => interruptible(args.run(&session)).await,
            Command::Complete(args) => interruptible(args.run(&session)).await,
            Command::Fail(args) => interruptible(args.run(&session)).await,
            Command::Release(args) => interruptible(args.run(&session)).await,
            Command::Heartbeat(args) => interruptible(args.run(&session)).await,
            Command::Cancel(args) => interruptible(args.run(&session)).await,
            Command::Get(args) => interruptible(args.run(&session)).await,
            Command::History(args) => interruptible(args.run(&session)).await,
            Command::Status(args) => interruptible(args.run(&session)).await,
            Command::Leader(args) => interruptible(args.run(&session)).await,
            Command::Members(args) => interruptible(args.run(&session)).await,
            Command::Events(args) => interruptible(args.run(&session)).await,
            Command::Transfer(args) => interruptible(args.run(&session)).await,
            Command::AddVoter(args) => interruptible(args.run(&session)).await,
            Command::RemoveVoter(args) => interruptible(args.run(&session)).await,
            Command::ReplaceVoter(args) => interruptible(args.run(&session)).await,
            Command::Backup(args) => interruptible(args.run(&session)).await,
            Command::List(args) => interruptible(args.run(&session)).await,
            Command::Retry(args) => interruptible(args.run(&session)).await,
            Command::Queues(args) => interruptible(args.run(&session)).await,
            Command::SetQueue(args) => interruptible(args.run(&session)).await,
            Command::DeleteQueue(args) => interruptible(args.run(&session)).await,
            Command::Pause(args) => interruptible(args.run(&session)).await,
            Command::Resume(args) => interruptible(args.run(&session)).await,
            Command::Purge(args) => interruptible(args.run(&session)).await,
            Command::Workers(args) => interruptible(args.run(&session)).await,
            Command::Drain(args) => interruptible(args.run(&session)).await,
            Command::Undrain(args) => interruptible(args.run(&session)).await,
        }
    })
}

/// Runs a client verb. One thread is enough for it.
fn block_on(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::FAILED, "runtime", error.to_string()))?;
    runtime.block_on(verb)
}

/// Ctrl-C drops the call: its connection closes, and a claim that waits gives its place up.
async fn interruptible(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    tokio::select! {
        biased;
        ended = verb => ended,
        _ = tokio::signal::ctrl_c() => Ok(Exit::INTERRUPTED),
    }
}

/// Whether the arguments ask for JSON, as far as one can tell before they are parsed.
fn asks_for_json(arguments: &[OsString]) -> bool {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let is_json = |word: &str| matches!(word, "json" | "jsonl");
    let pairs =
        words.windows(2).any(|pair| matches!(pair[0], "-o" | "--output") && is_json(pair[1]));
    let joined = words.iter().any(|word| {
        let value = word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o"));
        value.is_some_and(|value| is_json(value.trim_start_matches('=')))
    });
    pairs || joined
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognized_before_the_arguments_are_parsed() {
        let asks =
            |text: &str| asks_for_json(&text.split(' ').map(OsString::from).collect::<Vec<_>>());
        for yes in
            ["queue x -o json", "queue -ojsonl x", "queue --output=json", "queue --output jsonl"]
        {
            assert!(asks(yes), "{yes}");
        }
        for no in ["queue json", "queue -o table json", "queue --output=plain"] {
            assert!(!asks(no), "{no}");
        }
    }
}
