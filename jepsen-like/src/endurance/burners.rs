//! Processes that use up cores.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use super::Check;
use crate::{
    cluster::{Process, cpu_ticks},
    exit::Failure,
    sweeper::Sweeper,
};

/// Clock ticks a second, of which `/proc` counts: the same on every Linux that this runs on (`USER_HZ`).
const TICKS: f64 = 100.0;
/// A burner that got less than this of a core did not burn one.
const SHARE_MIN: f64 = 0.1;

/// Some that run. Dropping them ends them.
pub(super) struct Burners {
    processes: Vec<Process>,
    since: Instant,
}

impl Burners {
    pub(super) fn start(count: u16, sweeper: &Arc<Sweeper>) -> Result<Self, Failure> {
        let start = |_| {
            let mut command = Command::new("sh");
            command
                .args(["-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            Process::start(&mut command, sweeper)
        };
        let processes = (0..count).map(start).collect::<Result<_, _>>()?;
        Ok(Self { processes, since: Instant::now() })
    }

    /// What they got of the cores: evidence that they burnt.
    pub(super) fn check(&self) -> Option<Check> {
        if self.processes.is_empty() {
            return None;
        }
        let seconds = self.since.elapsed().as_secs_f64();
        let shares: Vec<f64> = self
            .processes
            .iter()
            .map(|process| {
                let ticks = cpu_ticks(process.pid()).unwrap_or(0);
                f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) / TICKS / seconds.max(0.001)
            })
            .collect();
        let sum: f64 = shares.iter().sum();
        let told: Vec<String> =
            shares.iter().map(|share| format!("{:.0} %", share * 100.0)).collect();
        let burnt = shares.iter().all(|share| *share >= SHARE_MIN);
        let asked = format!("≥ {:.0} % each", SHARE_MIN * 100.0);
        Some(Check::evidence("cores burnt beside it", told.join(", "), asked, burnt).valued(sum))
    }
}
