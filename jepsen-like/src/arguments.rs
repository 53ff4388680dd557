//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    chaos::RunArgs,
    endurance::{GarbageArgs, LossArgs, RefusePairArgs, SoakArgs},
    failover::{Fault, GapGoal, Target},
};

const EXIT_CODES: &str = "\
Exit codes: 0 valid, every goal met; 1 a promise was broken or a goal missed; 2 something was not put
to the test; 254 bad arguments, or what this machine or that server cannot do; 255 harness error.";

/// The black box: faults in a cluster of real processes, and what its clients saw of them, judged.
#[derive(Debug, Parser)]
#[command(name = "jepsen-like", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Judge a recorded history again, off line.
    Check {
        /// An NDJSON history.
        file: PathBuf,
    },
    /// Let clients work while one thing after the other goes wrong, and judge every promise.
    Run(RunArgs),
    /// Measure for how long a fault stops writes, and which requests it fails.
    Failover(FailoverArgs),
    /// Every fault of the table, idle and under load; the same as `failover --fault all`.
    FailoverMatrix(MatrixArgs),
    /// Keep a cluster busy for long, with its cores burnt by others if need be: nobody is elected.
    Soak(SoakArgs),
    /// Lose a share of all datagrams: no vote, no leadership and next to no lease goes with them.
    Loss(LossArgs),
    /// Have two voters refuse each other's TCP: at most one election comes of it.
    RefusePair(RefusePairArgs),
    /// Send every node datagrams that are none of the cluster's: nobody's state changes, memory stays.
    Garbage(GarbageArgs),
    /// What the harness starts for itself: reads what to clean up, and does so when its input ends.
    #[command(hide = true)]
    Sweep,
}

/// What a cluster under test is made of.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// Voters.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) nodes: u8,
    /// The server's binary [default: `queue` beside this program; `cargo run` builds it first].
    #[arg(long, value_name = "PATH")]
    pub(crate) queue_bin: Option<PathBuf>,
    /// A network namespace for each node, also for faults that need none.
    #[arg(long)]
    pub(crate) netns: bool,
    /// A flag of `queue serve` for every node; may be given again.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) serve_flag: Vec<String>,
    /// Where the data directories go: its disk is under test [default: the temporary folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Leave the data directories and logs.
    #[arg(long)]
    pub(crate) keep: bool,
    /// What the choices of the run follow from [default: a fresh one].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Tell each trial as it ends.
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct FailoverArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// What happens.
    #[arg(long, value_enum)]
    pub(crate) fault: FaultWord,
    /// To whom; the faults of workers have their own.
    #[arg(long, value_enum, default_value_t = Target::Leader)]
    pub(crate) target: Target,
    /// Clients that keep the cluster busy; 0: idle.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) load: u16,
    /// How often.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) trials: u16,
    /// What is asked of the gaps: those of the table, `MEDIAN/MAX` in ms (`50/250`, `-/50`), or `none`.
    #[arg(long, default_value = "table", value_name = "GOAL")]
    pub(crate) gap_goal: GapGoal,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MatrixArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Clients of the rows under load.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) load: u16,
    /// How often each fault.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) trials: u16,
    /// Three trials each.
    #[arg(long)]
    pub(crate) quick: bool,
    /// What is asked of the gaps: those of the table, or `none`.
    #[arg(long, default_value = "table", value_name = "GOAL")]
    pub(crate) gap_goal: GapGoal,
}

/// A fault, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FaultWord {
    /// `kill -9`.
    Kill,
    /// SIGSTOP.
    Stop,
    /// Cut off from the other nodes, both ways.
    Partition,
    /// The two one-way cuts in turn.
    Oneway,
    /// What it sends to the other nodes is lost.
    OnewayOut,
    /// What the other nodes send to it is lost.
    OnewayIn,
    /// The TCP between it and the other nodes is lost, both ways; UDP passes.
    TcpCut,
    /// SIGTERM.
    Term,
    /// `kill -9` of the agent that holds a job.
    WorkerKill,
    /// SIGSTOP of the agent that holds a job.
    WorkerStop,
    /// The agent that holds a job is cut off from everybody.
    WorkerCut,
    /// `kill -9` of the agent that holds a job, which is started again at once.
    WorkerRestart,
    /// A second agent under the name of the one that holds a job.
    WorkerTwin,
    /// Every one, idle and under load.
    All,
}

impl FaultWord {
    /// The faults that trials take in turn, and whether they are of workers; `None`: the whole table.
    pub(crate) fn faults(self) -> Option<(Vec<Fault>, bool)> {
        let of_nodes = |faults: &[Fault]| Some((faults.to_vec(), false));
        let of_workers = |fault| Some((vec![fault], true));
        match self {
            Self::Kill => of_nodes(&[Fault::Kill]),
            Self::Stop => of_nodes(&[Fault::Stop]),
            Self::Partition => of_nodes(&[Fault::Partition]),
            Self::Oneway => of_nodes(&[Fault::OneWayOut, Fault::OneWayIn]),
            Self::OnewayOut => of_nodes(&[Fault::OneWayOut]),
            Self::OnewayIn => of_nodes(&[Fault::OneWayIn]),
            Self::TcpCut => of_nodes(&[Fault::TcpCut]),
            Self::Term => of_nodes(&[Fault::Term]),
            Self::WorkerKill => of_workers(Fault::Kill),
            Self::WorkerStop => of_workers(Fault::Stop),
            Self::WorkerCut => of_workers(Fault::Partition),
            Self::WorkerRestart => of_workers(Fault::Restart),
            Self::WorkerTwin => of_workers(Fault::Twin),
            Self::All => None,
        }
    }
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One object, with every trial in it.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_issues_command_is_understood() {
        let words = "jepsen-like failover --nodes 5 --fault oneway --load 64 --trials 20 --target \
                     follower --gap-goal none -o json";
        let arguments = Arguments::try_parse_from(words.split_whitespace()).unwrap();
        let Verb::Failover(failover) = arguments.verb else { panic!("it is failover") };
        assert_eq!(failover.fault.faults(), Some((vec![Fault::OneWayOut, Fault::OneWayIn], false)));
        assert_eq!((failover.cluster.nodes, failover.load), (5, 64));
        assert_eq!(failover.gap_goal, GapGoal::None);
    }

    #[test]
    fn every_fault_has_a_word() {
        for word in FaultWord::value_variants() {
            let faults = word.faults().map(|(faults, _)| faults.len());
            assert_eq!(faults.is_none(), *word == FaultWord::All, "{word:?}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for words in
            ["failover --fault kill --trials 0", "failover --fault nothing", "failover", "x"]
        {
            let words = ["jepsen-like"].into_iter().chain(words.split_whitespace());
            assert!(Arguments::try_parse_from(words).is_err());
        }
    }
}
