//! What a run leaves behind is swept by a process of its own, however the run ends: the sweeper reads
//! from a pipe what there is, and at the pipe's end (a return, a panic, Ctrl-C, `kill -9`) kills and
//! removes what is still there.
//!
//! ```text
//! watch PID START   a process group; START is its start time, so that a reused id is left alone
//! forget PID        it was waited for
//! remove DIR        a directory of the run
//! keep DIR          … that is to stay after all
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, Write},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Mutex,
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{cluster::start_time, exit::Failure};

/// The hidden verb under which the binary is its own sweeper.
pub(crate) const VERB: &str = "sweep";

/// The way to the sweeper of this run. Dropping it has everything swept, and waits for that.
pub(crate) struct Sweeper {
    pipe: Mutex<Option<ChildStdin>>,
    process: Child,
}

impl Sweeper {
    /// Starts one. It has its own process group, so that Ctrl-C does not reach it.
    pub(crate) fn start() -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::harness("own path"))?;
        Self::by(Command::new(program).arg(VERB))
    }

    /// One that another program is: tests have no verb to call themselves by.
    pub(crate) fn by(command: &mut Command) -> Result<Self, Failure> {
        let mut process = command
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(Failure::harness("starting the sweeper"))?;
        Ok(Self { pipe: Mutex::new(process.stdin.take()), process })
    }

    pub(crate) fn watch(&self, pid: u32) {
        self.tell(&format!("watch {pid} {}", start_time(pid).unwrap_or(0)));
    }

    pub(crate) fn forget(&self, pid: u32) {
        self.tell(&format!("forget {pid}"));
    }

    pub(crate) fn remove(&self, directory: &Path) {
        self.tell(&format!("remove {}", directory.display()));
    }

    pub(crate) fn keep(&self, directory: &Path) {
        self.tell(&format!("keep {}", directory.display()));
    }

    fn tell(&self, line: &str) {
        let mut pipe = self.pipe.lock().expect("nothing panics under this lock");
        // A sweeper that is gone cannot be told; the owners of what it would sweep still clean up.
        drop(pipe.as_mut().map(|pipe| writeln!(pipe, "{line}")));
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.pipe.lock().map(|mut pipe| pipe.take()));
        drop(self.process.wait());
    }
}

/// The sweeper's own life: reads until the end, then sweeps.
pub(crate) fn sweep(lines: impl BufRead) {
    let mut left = Left::default();
    for line in lines.lines().map_while(Result::ok) {
        left.on_line(&line);
    }
    for (pid, start) in left.groups {
        let is_same = start_time(pid) == Some(start);
        let group = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| is_same);
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    }
    for directory in left.directories {
        drop(fs::remove_dir_all(directory));
    }
}

/// What there is to sweep.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    /// Process groups by the id of their first process, which started then.
    groups: BTreeMap<u32, u64>,
    directories: BTreeSet<PathBuf>,
}

impl Left {
    fn on_line(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "watch" => {
                let (pid, start) = rest.split_once(' ').unwrap_or((rest, ""));
                if let (Ok(pid), Ok(start)) = (pid.parse(), start.parse()) {
                    self.groups.insert(pid, start);
                }
            }
            "forget" => drop(rest.parse().map(|pid: u32| self.groups.remove(&pid))),
            "remove" => drop(self.directories.insert(rest.into())),
            "keep" => drop(self.directories.remove(Path::new(rest))),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_or_kept_is_not_swept() {
        let mut left = Left::default();
        for line in [
            "watch 7 100",
            "watch 8 101",
            "remove /a b",
            "remove /c",
            "forget 7",
            "keep /c",
            "",
            "x",
        ] {
            left.on_line(line);
        }
        let expected = Left {
            groups: BTreeMap::from([(8, 101)]),
            directories: BTreeSet::from([PathBuf::from("/a b")]),
        };
        assert_eq!(left, expected);
    }

    // Situation: the run's directory and a process are there when the pipe ends. Claim: both are gone
    // afterwards, and a process with the same id but another start time is left alone.
    #[test]
    fn at_the_end_of_the_pipe_everything_left_goes() {
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("run");
        fs::create_dir(&run).unwrap();
        let spawn = || Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let (mut swept, mut spared) = (spawn(), spawn());
        let lines = format!(
            "watch {} {}\nwatch {} 1\nremove {}\n",
            swept.id(),
            start_time(swept.id()).unwrap(),
            spared.id(),
            run.display()
        );
        sweep(lines.as_bytes());
        assert!(!swept.wait().unwrap().success());
        assert!(spared.try_wait().unwrap().is_none());
        spared.kill().unwrap();
        spared.wait().unwrap();
        assert!(!run.exists());
    }
}
