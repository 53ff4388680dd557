//! A command that runs as a job: a process group of its own.

use std::{
    ffi::{OsStr, OsString},
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// How long its end is waited for after it was made to. A process that is stuck in the kernel is left
/// to it.
const REAP_PATIENCE: Duration = Duration::from_secs(5);

/// What a command reads and where it prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Its stdin is this process's, its output too.
    Inherited,
    /// There is nothing to read; its output is this process's.
    Nothing,
    /// All three are pipes.
    Pipes,
}

/// A command that could not be started. Nothing runs.
#[derive(Debug, thiserror::Error)]
#[error("cannot run {}: {error}", program.display())]
pub struct StartError {
    program: OsString,
    error: io::Error,
}

impl StartError {
    /// Whether there is no such program, as opposed to one that cannot be executed.
    pub fn is_not_found(&self) -> bool {
        self.error.kind() == io::ErrorKind::NotFound
    }
}

/// A running command. Dropping it kills the command and all that it has started.
#[derive(Debug)]
pub struct Child {
    child: tokio::process::Child,
    group: Option<Pid>,
}

impl Child {
    /// Starts a program, with `variables` added to its environment.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        program: &OsStr,
        arguments: &[OsString],
        variables: &[(&str, String)],
        input: Input,
    ) -> Result<Self, StartError> {
        let mut command = Command::new(program);
        command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(match input {
            Input::Inherited => Stdio::inherit(),
            Input::Nothing => Stdio::null(),
            Input::Pipes => Stdio::piped(),
        });
        if input == Input::Pipes {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let child = command.process_group(0).kill_on_drop(true).spawn();
        let child = child.map_err(|error| StartError { program: program.to_owned(), error })?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, group })
    }

    /// Its pipes, once, if it was given any.
    pub(super) fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout, ChildStderr)> {
        let child = &mut self.child;
        Some((child.stdin.take()?, child.stdout.take()?, child.stderr.take()?))
    }

    /// Waits for its end. Safe to cancel.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends the command and all that it has started: asked first, and made to after `grace`.
    pub async fn end(mut self, grace: Duration) {
        self.signal(Signal::TERM);
        drop(timeout(grace, self.child.wait()).await);
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

impl Drop for Child {
    fn drop(&mut self) {
        // Once the command is reaped its group's number may be somebody else's.
        if self.child.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tokio::sync::oneshot;

    use super::*;

    /// Nothing here takes as long on a machine that is not stuck.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn sh(script: &str) -> Child {
        let arguments = ["-c", script].map(OsString::from);
        Child::start(OsStr::new("sh"), &arguments, &[], Input::Nothing).unwrap()
    }

    /// A command with a grandchild, and what is told when the grandchild is gone: it alone holds the
    /// writing end of a pipe. Nothing of the test's own is left to it.
    async fn with_a_grandchild() -> (Child, oneshot::Receiver<io::Result<usize>>) {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let script = format!(
            "exec </dev/null >/dev/null 2>&1; (exec >{}; sleep 600) & wait",
            pipe.display()
        );
        let child = sh(&script);
        let (opened, is_open) = oneshot::channel();
        let (closed, is_closed) = oneshot::channel();
        // A thread of its own, which a test that fails leaves behind instead of waiting for it.
        std::thread::spawn(move || {
            let mut reader = std::fs::File::open(pipe).unwrap();
            opened.send(()).unwrap();
            closed.send(io::Read::read_to_end(&mut reader, &mut Vec::new())).unwrap();
        });
        timeout(PATIENCE, is_open).await.expect("the grandchild runs").unwrap();
        (child, is_closed)
    }

    async fn assert_gone(is_closed: oneshot::Receiver<io::Result<usize>>) {
        let read = timeout(PATIENCE, is_closed).await.expect("the grandchild is gone");
        assert_eq!(read.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn ending_a_command_ends_what_it_has_started() {
        let (child, is_closed) = with_a_grandchild().await;
        timeout(PATIENCE, child.end(Duration::from_secs(5))).await.expect("it ends");
        assert_gone(is_closed).await;
    }

    #[tokio::test]
    async fn dropping_a_command_kills_what_it_has_started() {
        let (child, is_closed) = with_a_grandchild().await;
        drop(child);
        assert_gone(is_closed).await;
    }

    #[tokio::test]
    async fn a_program_that_is_missing_and_one_that_cannot_be_executed_are_told_apart() {
        let start = |program: &str| Child::start(OsStr::new(program), &[], &[], Input::Nothing);
        assert!(start("/nonexistent/x").unwrap_err().is_not_found());
        assert!(!start("/").unwrap_err().is_not_found());
    }
}
