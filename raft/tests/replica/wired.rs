//! Voters in memory: on one switchboard, on disks that are none, in a time that passes when nobody has
//! anything to do.

use std::{sync::Arc, time::Duration};

use raft::{
    Bootstrap, Options, Role, Suspicion,
    disk::{Loss, MemoryDisk},
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    cluster::{Node, PATIENCE, fresh, leader, write},
    switchboard::{Link, Switchboard},
};

/// Voters on one switchboard.
pub(crate) struct Wired {
    pub(crate) nodes: Vec<Node>,
    switchboard: Switchboard,
}

impl Wired {
    pub(crate) async fn start(count: usize, change: impl Fn(&mut Options)) -> Self {
        let mut nodes = fresh(count, count, count);
        let switchboard = Switchboard::default();
        for (seed, node) in (1..).zip(&mut nodes) {
            change(&mut node.options);
            node.disk = Arc::new(MemoryDisk::new(Loss::Lose, seed));
            node.net = switchboard.net(node.options.listen);
            node.start().await;
        }
        let wired = Self { nodes, switchboard };
        write(&wired.nodes, "first").await;
        // Lines are drawn when the configuration is known, and answered at once.
        sleep(Duration::from_millis(100)).await;
        wired
    }

    /// One more node on the same switchboard, which waits to be taken in. Returns its place.
    pub(crate) async fn waiting(&mut self, label: &str) -> usize {
        let mut node = Node::new(label);
        node.options.bootstrap = Bootstrap::Join;
        node.disk = Arc::new(MemoryDisk::new(Loss::Lose, 1 + self.nodes.len() as u64));
        node.net = self.switchboard.net(node.options.listen);
        node.start().await;
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(crate) async fn leader(&self) -> usize {
        leader(&self.nodes).await
    }

    pub(crate) fn set(&self, from: usize, to: usize, link: Link) {
        let address = |at: usize| self.nodes[at].options.listen;
        self.switchboard.set(address(from), address(to), link);
    }

    /// Changes all that a node sends and receives.
    pub(crate) fn set_all(&self, node: usize, link: Link) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.set(node, other, link);
            self.set(other, node, link);
        }
    }

    /// Waits until one of these leads, and returns which, after how long, and the suspicion by which
    /// it was elected.
    pub(crate) async fn successor(&self, of: &[usize]) -> (usize, Duration, Option<Suspicion>) {
        let began = Instant::now();
        let leads = |at: &&usize| self.nodes[**at].status().role == Role::Leader;
        let found = async {
            loop {
                if let Some(at) = of.iter().find(leads) {
                    return *at;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        let at = timeout(PATIENCE, found).await.expect("not in time: a successor");
        let status = self.nodes[at].status();
        let stood = status.stood.filter(|stood| stood.term == status.term);
        (at, began.elapsed(), stood.map(|stood| stood.suspicion))
    }

    /// Lets this much time pass, and panics when more than `limit` is sent in it: what is sent without
    /// pause would never let it pass.
    pub(crate) async fn let_pass(&self, time: Duration, limit: u64) {
        let mut sends = self.switchboard.sends();
        let most = *sends.borrow() + limit;
        tokio::select! {
            () = sleep(time) => {}
            _ = sends.wait_for(|sends| *sends > most) => panic!("more than {limit} in {time:?}"),
        }
    }

    pub(crate) fn terms(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.status().term).collect()
    }
}
