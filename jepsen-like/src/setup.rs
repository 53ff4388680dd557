//! What every run against real processes begins with, and how it reports.

use std::{
    fmt,
    io::{self, Write as _},
    sync::Arc,
};

use serde::Serialize;

use crate::{
    arguments::{ClusterArgs, Format},
    chance::fresh_seed,
    cluster::{Binary, Cluster, Plan},
    exit::Failure,
    measure::Machine,
    network,
    sweeper::Sweeper,
};

/// A run that is about to start clusters.
pub(crate) struct Setup {
    pub(crate) plan: Plan,
    pub(crate) sweeper: Arc<Sweeper>,
    pub(crate) machine: Machine,
    pub(crate) seed: u64,
    keeps_directories: bool,
}

/// Under what a report's figures came about.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Circumstances {
    pub(crate) seed: u64,
    pub(crate) nodes: u8,
    pub(crate) binary: String,
    pub(crate) machine: Machine,
    pub(crate) network: &'static str,
    pub(crate) reproduce: String,
}

impl Setup {
    /// Finds the binary, looks at the machine, and enters namespaces when the run needs them. Until it
    /// has entered them it does not return: the process is started again inside.
    pub(crate) fn begin(arguments: &ClusterArgs, needs_hub: bool) -> Result<Self, Failure> {
        let in_namespaces = arguments.netns || needs_hub;
        let binary = Binary::find(arguments.queue_bin.as_deref())?;
        if in_namespaces {
            network::enter()?;
        }
        let folder = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
        let machine = Machine::look(&folder)?;
        let sweeper = Arc::new(Sweeper::start()?);
        let seed = arguments.seed.unwrap_or_else(fresh_seed);
        tell(&format!("{}: {}", binary.path.display(), binary.version));
        tell(&format!("{machine}; seed {seed}"));
        let plan = Plan {
            nodes: arguments.nodes,
            binary,
            in_namespaces,
            folder: Some(folder),
            serve_flags: arguments.serve_flag.clone(),
        };
        Ok(Self { plan, sweeper, machine, seed, keeps_directories: arguments.keep })
    }

    /// Does something with a cluster. Its directory stays when that was asked for, or when the run
    /// failed, so that somebody can look at the logs.
    pub(crate) fn with_cluster<T>(
        &self,
        act: impl FnOnce(&mut Cluster) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut cluster = Cluster::start(&self.plan, &self.sweeper)?;
        let result = act(&mut cluster);
        if self.keeps_directories || result.is_err() {
            tell(&format!("kept: {}", cluster.keep_directory().display()));
        }
        result
    }

    pub(crate) fn circumstances(&self) -> Circumstances {
        Circumstances {
            seed: self.seed,
            nodes: self.plan.nodes,
            binary: self.plan.binary.version.clone(),
            machine: self.machine.clone(),
            network: if self.plan.in_namespaces { "a network namespace each" } else { "loopback" },
            reproduce: reproduce(self.seed),
        }
    }
}

impl fmt::Display for Circumstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, binary, machine, network, reproduce } = self;
        writeln!(f, "{nodes} voters, {binary}, {network}\n{machine}")?;
        writeln!(
            f,
            "seed {seed}; the seed fixes targets, writers and moments, not what the processes do"
        )?;
        writeln!(f, "reproduce: {reproduce}")
    }
}

/// Prints a report: its text, or all of it.
pub(crate) fn print(
    report: &impl Serialize,
    text: impl FnOnce() -> String,
    format: Format,
) -> Result<(), Failure> {
    let text = match format {
        Format::Table => text(),
        Format::Json => {
            let mut text = serde_json::to_string_pretty(report).expect("a report serializes");
            text.push('\n');
            text
        }
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::harness("printing the report"))
}

/// Progress, beside the report.
pub(crate) fn tell(line: &str) {
    // Nobody to tell is no reason to stop.
    drop(writeln!(io::stderr(), "{line}"));
}

/// The command that makes the same choices.
fn reproduce(seed: u64) -> String {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if !words.iter().any(|word| word == "--seed" || word.starts_with("--seed=")) {
        words.extend(["--seed".to_owned(), seed.to_string()]);
    }
    format!("cargo run --release -p jepsen-like -- {}", words.join(" "))
}
