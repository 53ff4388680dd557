//! The machine that a figure was taken on. A figure without it says little.

use std::{
    fmt, fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::Distribution;
use crate::exit::Failure;

/// So many syncs are timed before a run.
const SYNCS: usize = 40;

/// What is known of it before the first node starts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    /// Over the last minute.
    load_average: String,
    processor: String,
    kernel: String,
    /// The median and the greatest of a few `fdatasync` of 512 bytes where the data directories will be.
    fdatasync_median_us: u128,
    fdatasync_max_us: u128,
}

impl Machine {
    /// Looks at it, and at the disk under `folder`.
    pub(crate) fn look(folder: &Path) -> Result<Self, Failure> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let load_average = read("/proc/loadavg");
        let syncs = time_syncs(folder).map_err(Failure::harness(folder.display().to_string()))?;
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load_average: load_average.split(' ').next().unwrap_or_default().to_owned(),
            processor: processor_of(&read("/proc/cpuinfo")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            fdatasync_median_us: syncs.median().unwrap_or_default().as_micros(),
            fdatasync_max_us: syncs.max().unwrap_or_default().as_micros(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, load_average, processor, kernel, .. } = self;
        write!(
            f,
            "{cores} cores ({processor}), load average {load_average} before, Linux {kernel}, \
             fdatasync {} µs (max {})",
            self.fdatasync_median_us, self.fdatasync_max_us
        )
    }
}

fn time_syncs(folder: &Path) -> std::io::Result<Distribution> {
    let mut file = tempfile::tempfile_in(folder)?;
    let sync = |_| {
        file.write_all(&[0; 512])?;
        let start = Instant::now();
        file.sync_data()?;
        Ok(start.elapsed())
    };
    (0..SYNCS).map(sync).collect::<std::io::Result<Vec<Duration>>>().map(Distribution::from_iter)
}

fn processor_of(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let name = name.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
    name.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        assert_eq!(processor_of("processor : 0\nmodel name\t: AMD EPYC\nflags : x\n"), "AMD EPYC");
        assert_eq!(processor_of(""), "unknown");
    }

    #[test]
    fn this_machine_has_cores_and_a_disk_that_syncs() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::look(directory.path()).unwrap();
        assert!(machine.cores > 0);
        assert!(machine.to_string().contains("fdatasync"), "{machine}");
    }
}
