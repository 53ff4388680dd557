//! One process under test: its signals, and what `/proc` says of it.

use std::{
    fs, io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{exit::Failure, sweeper::Sweeper};

/// A child in a process group of its own. Dropping it kills and reaps it.
pub(crate) struct Process {
    child: Child,
    sweeper: Arc<Sweeper>,
}

impl Process {
    pub(crate) fn start(command: &mut Command, sweeper: &Arc<Sweeper>) -> Result<Self, Failure> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .process_group(0)
            .spawn()
            .map_err(Failure::harness(format!("starting {program}")))?;
        sweeper.watch(child.id());
        Ok(Self { child, sweeper: Arc::clone(sweeper) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; the kernel has taken it when this returns.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        kill_process(Pid::from_child(&self.child), signal).map_err(|error| {
            Failure::harness(format!("signalling process {}", self.pid()))(io::Error::from(error))
        })
    }

    /// Waits for its end; `None` when it goes on beyond the limit.
    pub(crate) fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    /// The letter that `/proc/PID/stat` has for its state: `T` is stopped.
    pub(crate) fn state(&self) -> Option<char> {
        state_of(&fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?)
    }

    /// Whether it has neither ended nor been stopped.
    pub(crate) fn lives(&self) -> bool {
        self.state().is_some_and(|state| !matches!(state, 'Z' | 'X' | 'T'))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        self.sweeper.forget(self.pid());
    }
}

/// Whether it ended by this signal.
pub(crate) fn ended_by(status: ExitStatus, signal: Signal) -> bool {
    status.signal() == Some(signal.as_raw())
}

/// When a process started, in clock ticks since the machine did.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    start_time_of(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The memory that a process has in RAM.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    resident_bytes_of(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// The processor time that a process has used, in clock ticks.
pub(crate) fn cpu_ticks(pid: u32) -> Option<u64> {
    cpu_ticks_of(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc(5): the name, in parentheses, may itself hold any character; field 3 follows it.
fn fields_after_name(stat: &str) -> Option<std::str::SplitWhitespace<'_>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace())
}

fn state_of(stat: &str) -> Option<char> {
    fields_after_name(stat)?.next()?.chars().next()
}

/// proc(5): field 22 is the start time, so the 20th after the name.
fn start_time_of(stat: &str) -> Option<u64> {
    fields_after_name(stat)?.nth(19)?.parse().ok()
}

/// proc(5): fields 14 and 15 are its time in user mode and in the kernel.
fn cpu_ticks_of(stat: &str) -> Option<u64> {
    let mut fields = fields_after_name(stat)?.skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn resident_bytes_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    const STAT: &str = "4242 (a) b (c) T 1 4242 4242 0 -1 4194560 90 0 0 0 1 2 0 0 20 0 1 0 \
                        987654 2600960 256 18446744073709551615 1 1 0";

    #[test]
    fn the_name_of_a_process_does_not_confuse_its_fields() {
        assert_eq!(state_of(STAT), Some('T'));
        assert_eq!(start_time_of(STAT), Some(987_654));
        assert_eq!(cpu_ticks_of(STAT), Some(3));
    }

    #[test]
    fn a_line_that_is_cut_short_says_nothing() {
        assert_eq!(state_of(""), None);
        assert_eq!(state_of("4242 (a"), None);
        assert_eq!(start_time_of("4242 (a) T 1 2"), None);
        assert_eq!(cpu_ticks_of("4242 (a) T 1 2"), None);
        assert_eq!(resident_bytes_of("VmSize:\t 10 kB\n"), None);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident_bytes_of("VmPeak:\t 9 kB\nVmRSS:\t    1024 kB\n"), Some(1 << 20));
    }

    #[test]
    fn a_process_can_be_stopped_and_killed() {
        let sweeper = Arc::new(Sweeper::by(Command::new("cat").stdout(Stdio::null())).unwrap());
        let mut process = Process::start(Command::new("sleep").arg("600"), &sweeper).unwrap();
        process.signal(Signal::STOP).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while process.state() != Some('T') {
            assert!(Instant::now() < deadline, "it stops");
            std::thread::yield_now();
        }
        process.signal(Signal::KILL).unwrap();
        let status = process.wait_exit(Duration::from_secs(10)).unwrap();
        assert!(ended_by(status, Signal::KILL));
    }
}
