//! The command line of `run`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::arguments::ClusterArgs;

#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// For how long things go wrong, in seconds.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub(crate) time: Duration,
    /// What goes wrong, comma-separated.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = FaultClass::value_variants().to_vec())]
    pub(crate) faults: Vec<FaultClass>,
    /// Operations a second that the clients try, together.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// Where the run's folder goes.
    #[arg(long, value_name = "DIR", default_value = "jepsen-like/store")]
    pub(crate) store: PathBuf,
}

/// A class of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum FaultClass {
    /// `kill -9` of the leader or another node.
    Kill,
    /// `kill -9` of a majority, or of all, at once.
    KillMany,
    /// SIGSTOP.
    Pause,
    /// SIGTERM.
    Term,
    /// A node loses what it and the others send to each other.
    Partition,
    /// What a node sends to the others is lost.
    OnewayOut,
    /// What the others send to a node is lost.
    OnewayIn,
    /// A node's TCP is lost, its datagrams pass.
    TcpCut,
    /// 60 % of all datagrams are lost.
    Loss,
}

impl FaultClass {
    /// As the command line says it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it needs the hub.
    pub(crate) const fn is_of_the_network(self) -> bool {
        !matches!(self, Self::Kill | Self::KillMany | Self::Pause | Self::Term)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: u64 = text
        .strip_suffix('s')
        .unwrap_or(text)
        .parse()
        .map_err(|_| format!("`{text}` is no number of seconds, such as 60 or 60s"))?;
    if seconds == 0 {
        Err("it takes a second at least".to_owned())
    } else {
        Ok(Duration::from_secs(seconds))
    }
}
