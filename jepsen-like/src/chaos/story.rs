//! What goes wrong, and when: drawn from the seed as the run goes on.

use std::time::Duration;

use rustix::process::Signal;
use serde::Serialize;

use super::arguments::FaultClass;
use crate::{
    chance::Chance,
    cluster::{Cluster, Victim, ended_by},
    exit::Failure,
    failover::{Evidence, Fault, Injected},
    network::{Effect, Rule},
};

/// How long a fault lasts, ms.
const LASTS_MS: [u64; 5] = [300, 1_000, 2_000, 3_000, 5_000];
/// How long it is quiet after it, ms; of four one is long.
const REST_MS: [u64; 4] = [700, 1_500, 2_500, 6_000];
/// How long a process may take to die.
const SIGNAL_LIMIT: Duration = Duration::from_secs(5);
/// How many of 100 datagrams are lost.
const LOSS_PERCENT: u8 = 60;
/// So many datagrams have to be lost for it to have been in force.
const LOST_MIN: u64 = 20;

/// One fault, decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    pub(super) class: FaultClass,
    /// Whether it is to hit the leader, where it hits one.
    hits_leader: bool,
    /// What is drawn besides.
    draw: u64,
    pub(super) lasts: Duration,
    pub(super) rest: Duration,
}

/// One fault as it came to be.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Happened {
    pub(super) class: String,
    pub(super) nodes: Vec<String>,
    /// Since the run began.
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
    pub(super) in_force: bool,
    /// The node did what it must not.
    pub(super) misbehaved: bool,
    /// What is to be said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// A fault that is in force.
pub(super) enum Under {
    One(Injected),
    Killed(Vec<usize>),
    Loss,
}

/// The next fault of the story: of the classes that were not drawn yet, while there are any.
pub(super) fn next(chance: &mut Chance, left: &mut Vec<FaultClass>, all: &[FaultClass]) -> Planned {
    if left.is_empty() {
        *left = all.to_vec();
    }
    let place = usize::try_from(chance.below(left.len() as u64)).expect("it was a length");
    let class = left.swap_remove(place);
    Planned {
        class,
        hits_leader: chance.below(2) == 0,
        draw: chance.next(),
        lasts: Duration::from_millis(*chance.one_of(&LASTS_MS)),
        rest: Duration::from_millis(*chance.one_of(&REST_MS)),
    }
}

impl Planned {
    /// Makes it; the names of the nodes that it hits.
    pub(super) fn begin(
        &self,
        cluster: &mut Cluster,
        epoch: std::time::Instant,
    ) -> Result<(Under, Vec<String>), Failure> {
        let fault = match self.class {
            FaultClass::Kill => Fault::Kill,
            FaultClass::Pause => Fault::Stop,
            FaultClass::Term => Fault::Term,
            FaultClass::Partition => Fault::Partition,
            FaultClass::OnewayOut => Fault::OneWayOut,
            FaultClass::OnewayIn => Fault::OneWayIn,
            FaultClass::TcpCut => Fault::TcpCut,
            FaultClass::KillMany => return self.kill_many(cluster),
            FaultClass::Loss => return lose(cluster),
        };
        let victim = self.victim(cluster);
        let label = cluster.nodes[victim].label.clone();
        if self.class == FaultClass::Term {
            // One that is still opening its directory is interrupted, and says so by its exit code.
            let address = cluster.nodes[victim].http;
            cluster.eventually("a node is ready before it is told to leave", || {
                cluster.control.get(address, "/ready")
            })?;
        }
        let injected = fault.inject(cluster, Victim::Node(victim), epoch)?;
        Ok((Under::One(injected), vec![label]))
    }

    fn victim(&self, cluster: &Cluster) -> usize {
        let any = usize::try_from(self.draw % cluster.nodes.len() as u64).expect("few");
        let leader = (0..cluster.nodes.len()).find_map(|index| {
            let election = cluster.election(index)?;
            let label = election["leader_id"].as_str()?;
            cluster.nodes.iter().position(|node| node.label == label)
        });
        leader.filter(|_| self.hits_leader).unwrap_or(any)
    }

    fn kill_many(&self, cluster: &mut Cluster) -> Result<(Under, Vec<String>), Failure> {
        let count = cluster.nodes.len();
        let killed = if self.hits_leader { count } else { count / 2 + 1 };
        let first = usize::try_from(self.draw % count as u64).expect("few");
        let victims: Vec<usize> = (0..killed).map(|step| (first + step) % count).collect();
        for victim in &victims {
            cluster.process_of(Victim::Node(*victim))?.signal(Signal::KILL)?;
        }
        let labels = victims.iter().map(|victim| cluster.nodes[*victim].label.clone()).collect();
        Ok((Under::Killed(victims), labels))
    }
}

fn lose(cluster: &mut Cluster) -> Result<(Under, Vec<String>), Failure> {
    let all = cluster.addresses();
    let rules = Rule::between(&all, &all, Effect::LoseUdp(LOSS_PERCENT));
    cluster.hub.as_mut().expect("faults of the network are given a hub").set(rules)?;
    Ok((Under::Loss, cluster.nodes.iter().map(|node| node.label.clone()).collect()))
}

impl Under {
    /// Looks whether it is in force, and undoes it.
    pub(super) fn end(self, cluster: &mut Cluster) -> Result<Evidence, Failure> {
        match self {
            Self::One(injected) => {
                let evidence = injected.evidence(cluster)?;
                injected.heal(cluster)?;
                Ok(evidence)
            }
            Self::Killed(victims) => {
                let mut alive = vec![];
                for victim in victims.into_iter().map(Victim::Node) {
                    let status = cluster.process_of(victim)?.wait_exit(SIGNAL_LIMIT);
                    if !status.is_some_and(|status| ended_by(status, Signal::KILL)) {
                        alive.push(cluster.name_of(victim).to_owned());
                    }
                    cluster.restart(victim)?;
                }
                Ok(if alive.is_empty() {
                    Evidence::InForce
                } else {
                    Evidence::None(format!("{} did not die of it", alive.join(", ")))
                })
            }
            Self::Loss => {
                let hub = cluster.hub.as_mut().expect("the fault was made with it");
                let lost: u64 = hub.packets()?.iter().map(|(_, packets)| packets).sum();
                hub.heal()?;
                Ok(if lost >= LOST_MIN {
                    Evidence::InForce
                } else {
                    Evidence::None(format!("{lost} datagrams were lost"))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_comes_before_any_comes_again() {
        let all = [FaultClass::Kill, FaultClass::Pause, FaultClass::Term];
        let (mut chance, mut left) = (Chance::of(7), vec![]);
        for _ in 0..5 {
            let mut drawn: Vec<FaultClass> =
                (0..3).map(|_| next(&mut chance, &mut left, &all).class).collect();
            drawn.sort();
            assert_eq!(drawn, all);
        }
    }
}
