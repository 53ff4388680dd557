//! `queue run`'s command: started like a shell would, and its status told like one.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _},
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
};

use super::{Exit, Failure};
use crate::worker::{Child, Input, StartError};

/// As shells say it: found, but not to be executed …
const NOT_EXECUTABLE: Exit = Exit(126);
/// … and not found.
const NOT_FOUND: Exit = Exit(127);

/// Starts a command, with `variables` added to its environment. Its stdin is this process's, unless
/// that is a terminal: a group of its own may not read from it.
pub(super) fn start(command: &[OsString], variables: &[(&str, String)]) -> Result<Child, Failure> {
    let [program, arguments @ ..] = command else {
        return Err(Failure::usage("there is no command to run"));
    };
    let input = if io::stdin().is_terminal() { Input::Nothing } else { Input::Inherited };
    Child::start(program, arguments, variables, input).map_err(|error| cannot_start(&error))
}

fn cannot_start(error: &StartError) -> Failure {
    let exit = if error.is_not_found() { NOT_FOUND } else { NOT_EXECUTABLE };
    Failure::new(exit, "command", error.to_string())
}

/// A command's status as shells say it: its code, or 128 and the signal that ended it.
pub(super) fn exit_of(status: ExitStatus) -> Exit {
    let by_signal = || status.signal().map(|signal| 128 + signal);
    let code = status.code().or_else(by_signal).and_then(|code| u8::try_from(code).ok());
    code.map_or(Exit::FAILED, Exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[tokio::test]
    async fn a_commands_status_is_its_code_or_its_signal() {
        for (script, exit) in [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)] {
            let mut child = start(&command(&["sh", "-c", script]), &[]).unwrap();
            assert_eq!(exit_of(child.ended().await.unwrap()), Exit(exit), "{script}");
        }
    }

    #[tokio::test]
    async fn a_command_that_cannot_be_started_ends_as_in_a_shell() {
        let missing = start(&command(&["/nonexistent/x"]), &[]).unwrap_err();
        assert_eq!(missing.exit, Exit(127));
        assert!(missing.render(false).contains("cannot run /nonexistent/x"));
        let folder = start(&command(&["/"]), &[]).unwrap_err();
        assert_eq!(folder.exit, Exit(126));
    }
}
