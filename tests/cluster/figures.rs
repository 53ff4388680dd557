//! A node that is asked how it is.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::support::{Caller, Cluster, Reply, SetOnFailure};

const WRITERS: usize = 4;
const ASKERS: usize = 4;
const JOBS: usize = 4_000;

// Situation: a leader is asked for its status without pause while its own changes all the time, for it works.
// (Once each waited for what the other held, and the node stood still for ever.) Claim: every question and
// every job is answered.
#[test]
fn a_node_that_is_asked_for_its_figures_without_pause_works_on() {
    let cluster = Cluster::of_three();
    let at = [cluster.voters[cluster.leader()].http.clone()];
    let (added, asked, is_over) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (at, added, asked, is_over) = (&at, &added, &asked, &is_over);
        let _failure = SetOnFailure(is_over);
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let mut caller = Caller::to(at);
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let body = json!({"work_id": format!("{writer}-{number}")});
                    let reply = caller.call("POST", "/work/add", Some(&body));
                    assert!(matches!(reply, Reply::Answer { status: 201, .. }), "{reply:?}");
                    added.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..ASKERS {
            scope.spawn(move || {
                let mut caller = Caller::to(at);
                while !is_over.load(Ordering::Relaxed) {
                    let reply = caller.call("GET", "/status", None);
                    assert!(matches!(reply, Reply::Answer { status: 200, .. }), "{reply:?}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        cluster.eventually("jobs are added while the node is asked", || {
            let least = added.load(Ordering::Relaxed).min(asked.load(Ordering::Relaxed));
            (least >= JOBS).then_some(())
        });
        is_over.store(true, Ordering::Relaxed);
    });
}
