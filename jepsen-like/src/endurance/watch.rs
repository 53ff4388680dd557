//! A thread that asks every node again and again how it stands, as long as a run lasts.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{elections::Elections, looks::Looks, members::Members, metrics};
use crate::{
    cluster::{Cluster, Control},
    exit::Failure,
};

/// Between two looks at every node. What happened in between is in their answers.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The metrics are many lines: they are looked at once in so many looks, and at the end.
const METRICS_EVERY: usize = 10;

/// What a watch has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) elections: Elections,
    pub(crate) members: Members,
    /// Which node said where it stands.
    pub(crate) answered: Looks,
    /// At which node all nodes were seen alive.
    pub(crate) whole_views: Looks,
}

/// A running watch.
pub(crate) struct Watch {
    is_over: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Starts it; when this returns it has had a first look, and counts what changes from then on.
    pub(crate) fn start(cluster: &Cluster) -> Result<Self, Failure> {
        let nodes: Vec<(String, SocketAddr)> =
            cluster.nodes.iter().map(|node| (node.label.clone(), node.http)).collect();
        let (is_over, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let (looked, has_looked) = mpsc::channel();
        let thread = {
            let (is_over, seen) = (Arc::clone(&is_over), Arc::clone(&seen));
            std::thread::Builder::new()
                .name("watch".to_owned())
                .spawn(move || run(&nodes, &is_over, &seen, &looked))
                .map_err(Failure::harness("starting the watch"))?
        };
        has_looked.recv().map_err(|_| Failure::Cluster("no node can be watched".to_owned()))?;
        Ok(Self { is_over, seen, thread })
    }

    /// What it has seen so far.
    pub(crate) fn so_far(&self) -> Seen {
        self.seen.lock().expect("the watch does not panic under this lock").clone()
    }

    /// Takes a last look, and gives all that was seen.
    pub(crate) fn finish(self) -> Seen {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        drop(self.thread.join());
        let mut seen = self.seen.lock().expect("the watch does not panic under this lock");
        std::mem::take(&mut seen)
    }
}

fn run(
    nodes: &[(String, SocketAddr)],
    is_over: &AtomicBool,
    seen: &Mutex<Seen>,
    looked: &mpsc::Sender<()>,
) {
    let Ok(control) = Control::new() else { return };
    for number in 0_usize.. {
        let is_last = is_over.load(Ordering::Relaxed);
        for (label, address) in nodes {
            let with_metrics = is_last || number % METRICS_EVERY == 0;
            look(&control, nodes, (label.as_str(), *address), with_metrics, seen);
        }
        if number == 0 {
            let mut seen = seen.lock().expect("nobody panics under this lock");
            seen.elections.begin();
            seen.members.begin();
            (seen.answered, seen.whole_views) = Default::default();
            let _ = looked.send(());
        }
        if is_last {
            return;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

fn look(
    control: &Control,
    nodes: &[(String, SocketAddr)],
    (label, address): (&str, SocketAddr),
    with_metrics: bool,
    seen: &Mutex<Seen>,
) {
    let begun = Instant::now();
    let election = control.get(address, "/election/status");
    let status = control.get(address, "/status");
    let peers = control.get(address, "/peers");
    let metrics = with_metrics.then(|| control.text(address, "/metrics")).flatten();
    let lasted = begun.elapsed() + LOOK_EVERY;
    let mut seen = seen.lock().expect("nobody panics under this lock");
    seen.answered.note(label, lasted, election.is_some());
    if let Some(election) = election {
        seen.elections.on_status(label, &election);
    }
    if let Some(status) = status {
        seen.elections.on_voters(&status);
    }
    let all = nodes.iter().map(|(label, _)| label.as_str());
    let is_whole = seen.members.on_peers(label, &peers.unwrap_or_default(), all);
    seen.whole_views.note(label, lasted, is_whole);
    let term = metrics.and_then(|text| metrics::sum(&text, "queue_raft_term", &[]));
    // Terms are small whole numbers.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a term")]
    if let Some(term) = term {
        seen.elections.on_term(term as u64);
    }
}
