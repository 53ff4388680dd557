//! A command that runs as a job: a process group of its own, its output passed through.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _},
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{Exit, Failure};

/// What a command gets, after it was asked to end, before it is made to.
const GRACE: Duration = Duration::from_secs(5);
/// How long its end is waited for after it was made to. A process that is stuck in the kernel is left
/// to it.
const REAP_PATIENCE: Duration = Duration::from_secs(5);

/// As shells say it: found, but not to be executed …
const NOT_EXECUTABLE: Exit = Exit(126);
/// … and not found.
const NOT_FOUND: Exit = Exit(127);

/// A running command. Dropping it kills the command and all that it has started.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    /// Starts a command, with `variables` added to its environment. Its stdin is this process's,
    /// unless that is a terminal: a group of its own may not read from it.
    pub(super) fn start(
        command: &[OsString],
        variables: &[(&str, String)],
    ) -> Result<Self, Failure> {
        let [program, arguments @ ..] = command else {
            return Err(Failure::usage("there is no command to run"));
        };
        let is_terminal = io::stdin().is_terminal();
        let child = Command::new(program)
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(if is_terminal { Stdio::null() } else { Stdio::inherit() })
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| cannot_start(program, &error))?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, group })
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends the command and all that it has started: asked first, then made to.
    pub(super) async fn end(mut self) {
        self.signal(Signal::TERM);
        drop(timeout(GRACE, self.child.wait()).await);
        // Whoever of the group is still there had its time.
        self.signal(Signal::KILL);
        drop(timeout(REAP_PATIENCE, self.child.wait()).await);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // An error says that nobody is left, which is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Once the command is reaped its group's number may be somebody else's.
        if self.child.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

fn cannot_start(program: &OsString, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    Failure::new(exit, "command", format!("cannot run {}: {error}", program.display()))
}

/// A command's status as shells say it: its code, or 128 and the signal that ended it.
pub(super) fn exit_of(status: ExitStatus) -> Exit {
    let by_signal = || status.signal().map(|signal| 128 + signal);
    let code = status.code().or_else(by_signal).and_then(|code| u8::try_from(code).ok());
    code.map_or(Exit::FAILED, Exit)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tokio::sync::oneshot;

    use super::*;

    /// Nothing here takes as long on a machine that is not stuck.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn command(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[tokio::test]
    async fn a_commands_status_is_its_code_or_its_signal() {
        for (script, exit) in [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)] {
            let mut running = Running::start(&command(&["sh", "-c", script]), &[]).unwrap();
            assert_eq!(exit_of(running.ended().await.unwrap()), Exit(exit), "{script}");
        }
    }

    #[tokio::test]
    async fn a_command_that_cannot_be_started_ends_as_in_a_shell() {
        let missing = Running::start(&command(&["/nonexistent/x"]), &[]).unwrap_err();
        assert_eq!(missing.exit, Exit(127));
        assert!(missing.render(false).contains("cannot run /nonexistent/x"));
        let folder = Running::start(&command(&["/"]), &[]).unwrap_err();
        assert_eq!(folder.exit, Exit(126));
    }

    /// A command with a grandchild, and what is told when the grandchild is gone: it alone holds the
    /// writing end of a pipe. Nothing of the test's own is left to it.
    async fn with_a_grandchild() -> (Running, oneshot::Receiver<io::Result<usize>>) {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let script = format!(
            "exec </dev/null >/dev/null 2>&1; (exec >{}; sleep 600) & wait",
            pipe.display()
        );
        let running = Running::start(&command(&["sh", "-c", &script]), &[]).unwrap();
        let (opened, is_open) = oneshot::channel();
        let (closed, is_closed) = oneshot::channel();
        // A thread of its own, which a test that fails leaves behind instead of waiting for it.
        std::thread::spawn(move || {
            let mut reader = std::fs::File::open(pipe).unwrap();
            opened.send(()).unwrap();
            closed.send(io::Read::read_to_end(&mut reader, &mut Vec::new())).unwrap();
        });
        timeout(PATIENCE, is_open).await.expect("the grandchild runs").unwrap();
        (running, is_closed)
    }

    async fn assert_gone(is_closed: oneshot::Receiver<io::Result<usize>>) {
        let read = timeout(PATIENCE, is_closed).await.expect("the grandchild is gone");
        assert_eq!(read.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn ending_a_command_ends_what_it_has_started() {
        let (running, is_closed) = with_a_grandchild().await;
        timeout(PATIENCE, running.end()).await.expect("it ends");
        assert_gone(is_closed).await;
    }

    #[tokio::test]
    async fn dropping_a_command_kills_what_it_has_started() {
        let (running, is_closed) = with_a_grandchild().await;
        drop(running);
        assert_gone(is_closed).await;
    }
}
