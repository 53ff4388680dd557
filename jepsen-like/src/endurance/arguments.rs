//! The command lines of what lasts.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::arguments::ClusterArgs;

#[derive(Debug, Clone, Args)]
pub(crate) struct SoakArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// For how long.
    #[arg(long, default_value = "10", value_parser = minutes)]
    pub(crate) minutes: Duration,
    /// Clients that keep the cluster busy.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) load: u16,
    /// Processes beside the cluster that do nothing but use up a core each.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    pub(crate) burn: u16,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LossArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// How many of 100 datagrams are lost.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) udp: u8,
    /// For how long.
    #[arg(long, default_value = "10", value_parser = minutes)]
    pub(crate) minutes: Duration,
    /// Clients that keep the cluster busy; 0: none but the writer and the agents.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) load: u16,
    /// Agents that hold leases all the time, beside the two of which one is killed.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=40))]
    pub(crate) agents: u16,
    /// How many leases each of them holds.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) slots: u16,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RefusePairArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Which two voters refuse each other's TCP.
    #[arg(long, value_enum, default_value_t = Pair::Followers)]
    pub(crate) pair: Pair,
    /// For how long.
    #[arg(long, default_value = "10", value_parser = minutes)]
    pub(crate) minutes: Duration,
    /// Clients that keep the cluster busy, spread over all nodes; 0: none but the writers.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) load: u16,
}

/// Two voters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pair {
    /// The leader and a follower.
    Leader,
    /// Two followers.
    Followers,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct GarbageArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Datagrams a second to each node.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=36_000))]
    pub(crate) seconds: u16,
}

/// Minutes, with a fraction if need be.
fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| "a number of minutes, such as 10 or 0.5")?;
    if minutes > 0.0 && minutes <= 10_000.0 {
        Ok(Duration::from_secs_f64(minutes * 60.0))
    } else {
        Err("more than 0 and at most 10000 minutes".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_may_have_a_fraction_and_an_end() {
        assert_eq!(minutes("0.5"), Ok(Duration::from_secs(30)));
        for text in ["0", "-1", "NaN", "inf", "ten", "10001"] {
            assert!(minutes(text).is_err(), "{text}");
        }
    }
}
