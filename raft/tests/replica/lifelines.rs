//! Leaders that are replaced because a quorum does not hear them.

use raft::{Lifeline, Options, Suspicion, Timing};
use tokio::time::Instant;

use crate::cluster::{Node, leader, three_with, write};

/// Timers so slow that in these tests they elect nobody but the first leader.
fn with_lifeline(options: &mut Options) {
    options.timing = Timing { heartbeat_ms: 50, election_min_ms: 5_000, election_max_ms: 8_000 };
    options.lifeline = Some(Lifeline::lan());
}

/// The newest of what the running nodes say of having stood.
fn suspicion(nodes: &[Node], term: u64) -> Option<Suspicion> {
    let running = nodes.iter().filter(|node| node.is_running());
    let stood = running.filter_map(|node| node.status().stood).find(|stood| stood.term == term);
    stood.map(|stood| stood.suspicion)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_process_is_gone_is_replaced_without_its_timers() {
    let mut nodes = three_with(with_lifeline).await;
    write(&nodes, "before").await;
    let at = leader(&nodes).await;
    nodes[at].stop().await;
    let began = Instant::now();
    let new = leader(&nodes).await;
    println!("{:?}", began.elapsed());
    let term = nodes[new].status().term;
    assert_eq!(suspicion(&nodes, term), Some(Suspicion::Refused));
    write(&nodes, "after").await;
}
