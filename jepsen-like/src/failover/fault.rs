//! The faults: how each is made, what proves that it is in force, and how it is healed.

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use rustix::process::Signal;
use serde::Serialize;

use crate::{
    cluster::{Cluster, Victim, ended_by},
    exit::Failure,
    network::{Effect, Rule},
};

/// How long a process may take to be stopped or reaped by a signal that it cannot catch.
const SIGNAL_LIMIT: Duration = Duration::from_secs(5);
/// How long a node may take to leave after SIGTERM: its drain's 10 s, and what follows.
const LEAVE_LIMIT: Duration = Duration::from_secs(15);

/// What an agent exits with that another one of its name has taken over from.
const SUPERSEDED: i32 = 4;

/// What happens to a node, or to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// `kill -9`: the process is gone, the kernel alive.
    Kill,
    /// SIGSTOP: it hangs, its connections stay.
    Stop,
    /// It and the other nodes lose all they send to each other.
    Partition,
    /// What it sends to the other nodes is lost.
    OneWayOut,
    /// What the other nodes send to it is lost.
    OneWayIn,
    /// It and the other nodes lose the TCP that they send to each other; UDP passes.
    TcpCut,
    /// SIGTERM: it leaves in order.
    Term,
    /// `kill -9` of an agent that is started again at once, under its name.
    Restart,
    /// A second agent is started under the name of one that lives.
    Twin,
}

/// To whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// The one that leads.
    Leader,
    /// One that does not, drawn from the seed.
    Follower,
    /// The agent that holds the job; the faults of workers mean no other.
    #[value(skip)]
    Worker,
}

/// A fault that was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Injected {
    pub(crate) fault: Fault,
    pub(crate) victim: Victim,
    /// Just before it was made, since the run began.
    pub(crate) begun: Duration,
    /// When it certainly was.
    pub(crate) in_force: Duration,
}

/// What a look at a fault in force comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It was in force.
    InForce,
    /// It was not, as far as can be told.
    None(String),
    /// It was, and the node did what it must not.
    Misbehaved(String),
}

impl Fault {
    /// As the command line says it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Partition => "partition",
            Self::OneWayOut => "oneway-out",
            Self::OneWayIn => "oneway-in",
            Self::TcpCut => "tcp-cut",
            Self::Term => "term",
            Self::Restart => "restart",
            Self::Twin => "twin",
        }
    }

    /// Whether it needs the hub.
    pub(crate) const fn is_of_the_network(self) -> bool {
        matches!(self, Self::Partition | Self::OneWayOut | Self::OneWayIn | Self::TcpCut)
    }

    /// Makes it.
    pub(crate) fn inject(
        self,
        cluster: &mut Cluster,
        victim: Victim,
        epoch: Instant,
    ) -> Result<Injected, Failure> {
        let begun = epoch.elapsed();
        match self {
            Self::Kill => cluster.process_of(victim)?.signal(Signal::KILL)?,
            Self::Stop => cluster.process_of(victim)?.signal(Signal::STOP)?,
            Self::Term => cluster.process_of(victim)?.signal(Signal::TERM)?,
            Self::Restart => {
                cluster.process_of(victim)?.signal(Signal::KILL)?;
                // Dropping its process reaps it.
                cluster.restart(victim)?;
            }
            Self::Twin => cluster.start_twin(victim)?,
            Self::Partition | Self::OneWayOut | Self::OneWayIn | Self::TcpCut => {
                let rules = self.rules(cluster, victim);
                let hub = cluster.hub.as_mut().expect("faults of the network are given a hub");
                hub.set(rules)?;
            }
        }
        Ok(Injected { fault: self, victim, begun, in_force: epoch.elapsed() })
    }

    fn rules(self, cluster: &Cluster, victim: Victim) -> Vec<Rule> {
        let (address, others) = cluster.sides(victim);
        let node = [address];
        let effect = if self == Self::TcpCut { Effect::DropTcp } else { Effect::Drop };
        let out = Rule::between(&node, &others, effect);
        let into = Rule::between(&others, &node, effect);
        match self {
            Self::OneWayOut => out,
            Self::OneWayIn => into,
            _ => [out, into].concat(),
        }
    }
}

impl Injected {
    /// Looks whether it is in force, at the end of the observation and before it is healed.
    pub(crate) fn evidence(&self, cluster: &mut Cluster) -> Result<Evidence, Failure> {
        match self.fault {
            Fault::Kill => {
                let status = cluster.process_of(self.victim)?.wait_exit(SIGNAL_LIMIT);
                Ok(match status {
                    Some(status) if ended_by(status, Signal::KILL) => Evidence::InForce,
                    other => Evidence::None(format!("the process {}", ending(other))),
                })
            }
            Fault::Stop => {
                let state = cluster.process_of(self.victim)?.state();
                Ok(match state {
                    Some('T') => Evidence::InForce,
                    other => Evidence::None(format!("the process is in state {other:?}, not T")),
                })
            }
            Fault::Term => {
                let status = cluster.process_of(self.victim)?.wait_exit(LEAVE_LIMIT);
                Ok(match status {
                    Some(status) if status.success() => Evidence::InForce,
                    other => Evidence::Misbehaved(format!("after SIGTERM it {}", ending(other))),
                })
            }
            Fault::Restart => {
                let state = cluster.process_of(self.victim)?.state();
                Ok(match state {
                    Some('R' | 'S' | 'D') => Evidence::InForce,
                    other => {
                        Evidence::Misbehaved(format!("started again it is in state {other:?}"))
                    }
                })
            }
            Fault::Twin => {
                let status = cluster.process_of(self.victim)?.wait_exit(LEAVE_LIMIT);
                Ok(match status {
                    Some(status) if status.code() == Some(SUPERSEDED) => Evidence::InForce,
                    other => Evidence::Misbehaved(format!("beside its twin it {}", ending(other))),
                })
            }
            Fault::Partition | Fault::OneWayOut | Fault::OneWayIn | Fault::TcpCut => {
                packets_lost(cluster)
            }
        }
    }

    /// Undoes it.
    pub(crate) fn heal(&self, cluster: &mut Cluster) -> Result<(), Failure> {
        match self.fault {
            Fault::Kill | Fault::Term => cluster.restart(self.victim),
            Fault::Stop => cluster.process_of(self.victim)?.signal(Signal::CONT),
            Fault::Restart => Ok(()),
            Fault::Twin => {
                cluster.keep_twin(self.victim);
                Ok(())
            }
            Fault::Partition | Fault::OneWayOut | Fault::OneWayIn | Fault::TcpCut => {
                cluster.hub.as_mut().expect("the fault was made with it").heal()
            }
        }
    }
}

/// In each direction that is cut, something was lost.
fn packets_lost(cluster: &Cluster) -> Result<Evidence, Failure> {
    let lost = cluster.hub.as_ref().expect("the fault was made with it").packets()?;
    Ok(idle_direction(&lost).map_or(Evidence::InForce, Evidence::None))
}

/// A sentence when one of the addresses that are cut off as a sender, or as a receiver, lost nothing.
/// Two nodes that have nothing to say to each other are no proof of anything.
fn idle_direction(lost: &[(Rule, u64)]) -> Option<String> {
    let total: u64 = lost.iter().map(|(_, packets)| packets).sum();
    if total == 0 {
        return Some("the rules of the cut took no packet".to_owned());
    }
    let is_pair_cut_both_ways =
        |rule: &Rule| lost.iter().any(|(other, _)| other.from == rule.to && other.to == rule.from);
    let both_ways: Vec<_> = lost.iter().filter(|(rule, _)| is_pair_cut_both_ways(rule)).collect();
    let (first, _) = both_ways.first()?;
    // One node is in every pair: as a sender it is in half of the rules.
    let node = first.from;
    let sent: u64 = both_ways.iter().filter(|(rule, _)| rule.from == node).map(|(_, n)| n).sum();
    let received: u64 = both_ways.iter().filter(|(rule, _)| rule.to == node).map(|(_, n)| n).sum();
    let idle = |packets: u64, way: &str| {
        (packets == 0).then(|| format!("the cut took no packet {way} {node}"))
    };
    idle(sent, "from").or_else(|| idle(received, "to"))
}

fn ending(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "goes on".to_owned(), |status| format!("ended with {status}"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
    const C: Ipv4Addr = Ipv4Addr::new(10, 77, 3, 1);

    fn rule(from: Ipv4Addr, to: Ipv4Addr, packets: u64) -> (Rule, u64) {
        (Rule { from, to, effect: Effect::Drop }, packets)
    }

    #[test]
    fn a_cut_that_took_nothing_is_no_evidence() {
        assert!(idle_direction(&[rule(A, B, 0), rule(A, C, 0)]).is_some());
        assert_eq!(idle_direction(&[rule(A, B, 0), rule(A, C, 3)]), None);
    }

    #[test]
    fn a_partition_takes_packets_both_ways() {
        let lost = |out, into| [rule(A, B, out), rule(A, C, 0), rule(B, A, into), rule(C, A, 0)];
        assert_eq!(idle_direction(&lost(1, 1)), None);
        assert!(idle_direction(&lost(1, 0)).unwrap().contains("to 10.77.1.1"));
        assert!(idle_direction(&lost(0, 1)).unwrap().contains("from 10.77.1.1"));
    }
}
