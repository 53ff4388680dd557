//! Leaders that are replaced because a quorum does not hear them, and leaders that are not.
//!
//! Most of these run in one thread, on a network and on disks in memory, in a time that passes when
//! nobody has anything to do: what takes so many milliseconds there takes as many on every machine.

use std::time::Duration;

use raft::{Lifeline, Options, Role, Suspicion, Timing};
use tokio::time::{sleep, timeout};

use crate::{
    cluster::{Node, PATIENCE, converged, eventually, leader, three_with, write},
    switchboard::Link,
    wired::Wired,
};

/// The timers that the lifeline is measured against.
const LAN: Timing = Timing::lan();
/// Timers so slow that they elect nobody while a test runs.
const SLOW: Timing =
    Timing { heartbeat_ms: 50, election_min_ms: 600_000, election_max_ms: 900_000 };

fn with_lifeline(timing: Timing) -> impl Fn(&mut Options) {
    move |options| {
        options.timing = timing;
        options.lifeline = Some(Lifeline::lan());
    }
}

/// The other two of three.
fn others(at: usize) -> [usize; 2] {
    [(at + 1) % 3, (at + 2) % 3]
}

// The kill of issue 3, in one process: its port refuses.
#[tokio::test(start_paused = true)]
async fn a_leader_whose_port_refuses_is_replaced_at_once() {
    let mut wired = Wired::start(3, with_lifeline(LAN)).await;
    let at = wired.leader().await;
    wired.nodes[at].stop().await;
    let (_, took, suspicion) = wired.successor(&others(at)).await;
    assert_eq!(suspicion, Some(Suspicion::Refused));
    assert!(took < Duration::from_millis(20), "{took:?}");
    write(&wired.nodes, "after").await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hangs_is_replaced_after_the_silence() {
    let wired = Wired::start(3, with_lifeline(LAN)).await;
    let at = wired.leader().await;
    wired.set_all(at, Link::Held);
    let (new, took, suspicion) = wired.successor(&others(at)).await;
    assert_eq!(suspicion, Some(Suspicion::Silent { takes_connections: true }));
    let bounds = Duration::from_millis(100)..Duration::from_millis(150);
    assert!(bounds.contains(&took), "{took:?}");
    // It goes on, and follows.
    wired.set_all(at, Link::Up);
    assert_eq!(wired.leader().await, new);
    let written = write(&wired.nodes, "after").await;
    converged(&wired.nodes, written.index).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_is_told_from_one_that_hangs() {
    let wired = Wired::start(3, with_lifeline(LAN)).await;
    let at = wired.leader().await;
    wired.set_all(at, Link::Cut);
    let (_, took, suspicion) = wired.successor(&others(at)).await;
    assert_eq!(suspicion, Some(Suspicion::Silent { takes_connections: false }));
    assert!(took < Duration::from_millis(150), "{took:?}");
    // Alone it confirms nothing and takes nothing.
    let old = wired.nodes[at].replica();
    assert!(timeout(PATIENCE, old.read_index()).await.unwrap().is_err());
    eventually("it names no leader", || wired.nodes[at].status().leader.is_none()).await;
    wired.set_all(at, Link::Up);
    let written = write(&wired.nodes, "after").await;
    converged(&wired.nodes, written.index).await;
}

// Situation: what the leader sends does not arrive, or what it is sent does not. Claim: each alone is
// enough to give it up.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_one_way_is_replaced() {
    for is_mute in [true, false] {
        let wired = Wired::start(3, with_lifeline(LAN)).await;
        let at = wired.leader().await;
        for other in others(at) {
            let (from, to) = if is_mute { (at, other) } else { (other, at) };
            wired.set(from, to, Link::Cut);
        }
        let (_, took, suspicion) = wired.successor(&others(at)).await;
        assert_eq!(suspicion, Some(Suspicion::Silent { takes_connections: false }));
        assert!(took < Duration::from_millis(300), "mute {is_mute}: {took:?}");
    }
}

// Situation: a leader's process dies and is back before anybody could be refused. Claim: that it
// answers does not make it a leader.
#[tokio::test(start_paused = true)]
async fn a_leader_that_was_started_anew_is_replaced_without_its_timers() {
    let mut wired = Wired::start(3, with_lifeline(SLOW)).await;
    let at = wired.leader().await;
    for other in others(at) {
        // Nobody gets through to its port while it is closed.
        wired.set(other, at, Link::Cut);
    }
    wired.nodes[at].stop().await;
    wired.nodes[at].start().await;
    for other in others(at) {
        wired.set(other, at, Link::Up);
    }
    let (_, took, suspicion) = wired.successor(&others(at)).await;
    assert_eq!(suspicion, Some(Suspicion::Restarted));
    assert!(took < Duration::from_millis(700), "{took:?}");
    write(&wired.nodes, "after").await;
}

// Situation: TCP is refused between the leader and one follower, both ways, for ten minutes. Claim:
// the other follower hears the leader, so it stays.
#[tokio::test(start_paused = true)]
async fn one_pair_of_voters_that_refuse_each_other_elect_nobody() {
    let wired = Wired::start(3, with_lifeline(LAN)).await;
    let at = wired.leader().await;
    let [deaf, other] = others(at);
    let terms = wired.terms();
    wired.set(at, deaf, Link::Refused);
    wired.set(deaf, at, Link::Refused);
    for _ in 0..60 {
        sleep(Duration::from_secs(10)).await;
        wired.nodes[at].replica().propose("during".into()).await.unwrap();
    }
    assert_eq!(wired.terms(), terms);
    assert_eq!(wired.nodes[deaf].status().stood, None);
    // When it does die, the two that are left agree at once, although one has doubted it for long.
    wired.set(at, other, Link::Refused);
    wired.set(other, at, Link::Refused);
    let (_, took, suspicion) = wired.successor(&[deaf, other]).await;
    assert_eq!(suspicion, Some(Suspicion::Refused));
    assert!(took < Duration::from_millis(50), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_cut_off_elects_nobody() {
    for link in [Link::Held, Link::Cut, Link::Refused] {
        let wired = Wired::start(3, with_lifeline(LAN)).await;
        let at = wired.leader().await;
        let term = wired.nodes[at].status().term;
        wired.set_all((at + 1) % 3, link);
        sleep(Duration::from_secs(5)).await;
        wired.set_all((at + 1) % 3, Link::Up);
        let written = write(&wired.nodes, "after").await;
        converged(&wired.nodes, written.index).await;
        assert_eq!(wired.nodes[at].status().term, term, "{link:?}");
    }
}

// Situation: of five voters two do not hear the leader and hear each other. Their logs are equal, so that
// each is asked by one that it should rather stand than. Claim: they ask at a pace, elect nobody, and
// agree at once with the others when the leader is gone.
#[tokio::test(start_paused = true)]
async fn voters_that_a_quorum_does_not_agree_with_do_not_summon_each_other_without_pause() {
    let wired = Wired::start(5, with_lifeline(SLOW)).await;
    let at = wired.leader().await;
    let rest: Vec<usize> = (0..5).filter(|other| *other != at).collect();
    let terms = wired.terms();
    for deaf in &rest[..2] {
        wired.set(at, *deaf, Link::Refused);
        wired.set(*deaf, at, Link::Refused);
    }
    // Twenty pairs ping 67 times a second, and ten questions a second are on top for either of two.
    wired.let_pass(Duration::from_secs(10), 20_000).await;
    assert_eq!(wired.terms(), terms);
    wired.set_all(at, Link::Refused);
    let (_, took, suspicion) = wired.successor(&rest).await;
    assert_eq!(suspicion, Some(Suspicion::Refused));
    // The two that hear nobody ask at their pace still: whoever stands leaves the field to them, 25 ms each.
    assert!(took < Duration::from_millis(100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_false_witness_changes_nothing() {
    let wired = Wired::start(3, with_lifeline(LAN)).await;
    let at = wired.leader().await;
    let (terms, label) = (wired.terms(), wired.nodes[at].options.label.clone());
    for _ in 0..2_000 {
        for node in &wired.nodes {
            node.replica().witness(&label);
            node.replica().witness("nobody");
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(wired.terms(), terms);
}

#[tokio::test(start_paused = true)]
async fn a_witness_shortens_the_silence_of_a_leader_that_hangs() {
    let patient = |options: &mut Options| {
        options.timing = SLOW;
        options.lifeline = Some(Lifeline { ping_ms: 15, silence_ms: 60_000 });
    };
    let wired = Wired::start(3, patient).await;
    let at = wired.leader().await;
    wired.set_all(at, Link::Held);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(wired.nodes[at].status().role, Role::Leader);
    let label = wired.nodes[at].options.label.clone();
    wired.nodes[others(at)[0]].replica().witness(&label);
    sleep(Duration::from_secs(5)).await;
    assert!(
        others(at).iter().all(|other| wired.nodes[*other].status().stood.is_none()),
        "one alone"
    );
    wired.nodes[others(at)[1]].replica().witness(&label);
    let (_, took, suspicion) = wired.successor(&others(at)).await;
    assert!(matches!(suspicion, Some(Suspicion::Silent { .. })), "{suspicion:?}");
    assert!(took < Duration::from_millis(300), "{took:?}");
}

// Situation: the leader is silent a little longer than the silence, and then goes on; again and again.
// Claim: from the second time on, suspicions wait until it is over, and nobody is elected.
#[tokio::test(start_paused = true)]
async fn voters_that_have_suspected_wrongly_are_more_patient() {
    let wired = Wired::start(3, with_lifeline(SLOW)).await;
    let mut elections = Vec::new();
    for _ in 0..12 {
        let at = wired.leader().await;
        let term = wired.nodes[at].status().term;
        wired.set_all(at, Link::Held);
        sleep(Duration::from_millis(180)).await;
        wired.set_all(at, Link::Up);
        sleep(Duration::from_millis(300)).await;
        let new = wired.leader().await;
        elections.push(wired.nodes[new].status().term - term);
    }
    assert_eq!(elections[0], 1, "{elections:?}");
    // Each of the three may have been wrong once.
    assert_eq!(elections[3..], [0; 9], "{elections:?}");
}

// Situation: of five voters the leader dies and a follower with it, and the logs of the other three
// differ. Claim: one election, in the next term, by the longest log.
#[tokio::test(start_paused = true)]
async fn the_longest_log_stands_first_and_alone() {
    let wired = Wired::start(5, with_lifeline(SLOW)).await;
    let at = wired.leader().await;
    let term = wired.nodes[at].status().term;
    let rest: Vec<usize> = (0..5).filter(|other| *other != at).collect();
    let [dies, behind, ahead, last] = rest[..] else { unreachable!() };
    // Two of five miss what the third has.
    for late in [behind, last] {
        wired.set(at, late, Link::Held);
    }
    let written = wired.nodes[at].replica().propose("second".into()).await.unwrap();
    let has_it = || wired.nodes[ahead].status().last_log_index >= written.index;
    eventually("it has what the others miss", has_it).await;
    for dead in [at, dies] {
        wired.set_all(dead, Link::Refused);
    }
    let (new, took, _) = wired.successor(&[behind, ahead, last]).await;
    assert_eq!((new, wired.nodes[new].status().term), (ahead, term + 1));
    assert!(took < Duration::from_millis(20), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn switched_off_the_timers_decide() {
    let mut wired = Wired::start(3, |options| {
        options.timing = LAN;
        options.lifeline = None;
    })
    .await;
    let at = wired.leader().await;
    wired.nodes[at].replica().witness("nobody");
    wired.nodes[at].stop().await;
    let (_, took, suspicion) = wired.successor(&others(at)).await;
    assert_eq!(suspicion, None);
    assert!(took > Duration::from_millis(150), "{took:?}");
}

// Situation: one of three keeps no lifelines. Claim: nobody draws a conclusion from its silence on
// them, and the cluster goes on without an election.
#[tokio::test(start_paused = true)]
async fn a_voter_without_lifelines_is_left_to_the_timers() {
    let mut wired = Wired::start(3, with_lifeline(LAN)).await;
    let at = wired.leader().await;
    wired.nodes[at].stop().await;
    wired.nodes[at].options.lifeline = None;
    wired.nodes[at].start().await;
    let terms = wired.leader().await;
    let term = wired.nodes[terms].status().term;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(wired.nodes[wired.leader().await].status().term, term);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_a_leader_whose_process_is_gone_is_replaced_without_its_timers() {
    let mut nodes = three_with(with_lifeline(SLOW)).await;
    write(&nodes, "before").await;
    let at = leader(&nodes).await;
    // A leader that has never answered a ping is left to the timers, and these would take minutes.
    let all_are_heard =
        |node: &Node| node.replica().lifelines().is_some_and(|heard| heard.len() == 2);
    eventually("each hears both others", || nodes.iter().all(all_are_heard)).await;
    nodes[at].stop().await;
    let new = leader(&nodes).await;
    let status = nodes[new].status();
    let stood = status.stood.filter(|stood| stood.term == status.term);
    assert_eq!(stood.map(|stood| stood.suspicion), Some(Suspicion::Refused));
    write(&nodes, "after").await;
}
