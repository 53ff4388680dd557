//! The voters are changed while clients work.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    drain::all_replicas_agree,
    support::{Caller, Cluster, Reply, SetOnFailure},
};

/// Three voters that are ready, and nodes that wait.
fn three_and(waiting: usize) -> Cluster {
    let all: Vec<usize> = (0..3).collect();
    let joins = vec![&all[..]; 3 + waiting];
    let mut cluster = Cluster::fresh(Path::new(env!("CARGO_BIN_EXE_queue")), &[], &[], &joins);
    cluster.waiting_from = 3;
    for index in 0..3 {
        cluster.start(index);
    }
    for index in 0..3 {
        cluster.wait_ready(index);
    }
    for index in 3..3 + waiting {
        cluster.start(index);
    }
    cluster
}

/// Asks one node for a change until it is made.
fn change(cluster: &Cluster, at: usize, path: &str, body: &Value) -> Value {
    let at = std::slice::from_ref(&cluster.voters[at].http);
    cluster.eventually(&format!("{path} {body}"), || {
        match Caller::to(at).call("POST", path, Some(body)) {
            Reply::Answer { status: 200, body } => Some(body),
            Reply::Answer { status: 202 | 503 | 504, .. } => None,
            Reply::Answer { status, body } => panic!("{status}: {body}"),
            _ => None,
        }
    })
}

fn voters(cluster: &Cluster, at: usize) -> Value {
    let at = std::slice::from_ref(&cluster.voters[at].http);
    let (_, status) = Caller::to(at).insist("GET", "/status", None);
    let mut voters: Vec<String> = serde_json::from_value(status["voters"].clone()).expect("labels");
    voters.sort();
    json!(voters)
}

/// Runs the command line against one node; its exit code and stdout.
fn queue(cluster: &Cluster, at: usize, words: &[&str]) -> (Option<i32>, String) {
    let url = format!("http://{}", cluster.voters[at].http);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_queue"))
        .args(["--addr", &url])
        .args(words)
        .output()
        .expect("queue runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One request that has to be answered well.
fn served(caller: &mut Caller, path: &str, body: &Value) -> Value {
    match caller.call("POST", path, Some(body)) {
        // 200 for an add: the node had to repeat it across a change of leader.
        Reply::Answer { status: 200 | 201, body } => body,
        failed => panic!("{path} {body}: {failed:?}"),
    }
}

/// Claims and completes until the end; how many it has completed.
fn work(at: &str, client: usize, is_done: &AtomicBool) -> usize {
    let mut caller = Caller::to(&[at.to_owned()]);
    let mut completed = 0;
    for claim in 0.. {
        if is_done.load(Ordering::Relaxed) {
            break;
        }
        let body = json!({"node_id": format!("w{client}"), "lease_ms": 3_600_000, "wait_ms": 100,
            "request_id": format!("{client}-{claim}")});
        let answer = served(&mut caller, "/work/claim", &body);
        if let (Some(job), Some(token)) =
            (answer["work"]["work_id"].as_str(), answer["work"]["token"].as_u64())
        {
            served(&mut caller, "/work/complete", &json!({"work_id": job, "token": token}));
            completed += 1;
        }
    }
    completed
}

// Situation: three voters become five and three again, the leader among those that go, while jobs are
// added, claimed and completed through a voter that stays. Claim: every request is answered well, and
// nothing is lost.
/// api 1.repeat.rest.cluster
#[test]
fn three_voters_become_five_and_three_again_and_no_client_sees_it() {
    let cluster = three_and(2);
    let leader = cluster.leader();
    let (other, stays) = ((leader + 1) % 3, (leader + 2) % 3);
    let at = cluster.voters[stays].http.clone();
    let is_done = AtomicBool::new(false);
    let (added, completed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _failure = SetOnFailure(&is_done);
        for client in 0..4 {
            let (at, is_done, added) = (&at, &is_done, &added);
            scope.spawn(move || {
                let mut caller = Caller::to(std::slice::from_ref(at));
                for number in 0.. {
                    if is_done.load(Ordering::Relaxed) {
                        return;
                    }
                    let body = json!({"work_id": format!("{client}-{number}"), "payload": number});
                    served(&mut caller, "/work/add", &body);
                    added.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for client in 0..2 {
            let (at, is_done, completed) = (&at, &is_done, &completed);
            scope.spawn(move || {
                completed.fetch_add(work(at, client, is_done), Ordering::Relaxed);
            });
        }
        for index in [3, 4] {
            let body = cluster.voter_to_add(index);
            assert_eq!(change(&cluster, stays, "/cluster/add", &body)["status"], "added");
            cluster.wait_ready(index);
        }
        assert_eq!(voters(&cluster, stays), json!(["n1", "n2", "n3", "n4", "n5"]));
        let again = change(&cluster, stays, "/cluster/add", &cluster.voter_to_add(4));
        assert_eq!(again["duplicate"], true);
        // Whoever leads by now: it is the leader that goes first.
        let label = cluster.voters[leader].label.as_str();
        change(&cluster, stays, "/election/transfer", &json!({"to": label}));
        let leads = || voter_says(&cluster, stays)["leader_id"] == label;
        cluster.eventually("the one that goes leads", || leads().then_some(()));
        for index in [leader, other] {
            let body = json!({"node_id": cluster.voters[index].label});
            let removed = change(&cluster, stays, "/cluster/remove", &body);
            assert_eq!(removed["status"], "removed");
        }
        assert!(!leads());
        is_done.store(true, Ordering::Relaxed);
    });
    let stays_label = &cluster.voters[stays].label;
    assert_eq!(voters(&cluster, stays), json!([stays_label, "n4", "n5"]));
    let (_, status) = Caller::to(&[at]).insist("GET", "/work/status", None);
    assert_eq!(status["total_items"], json!(added.load(Ordering::Relaxed)));
    let completed = completed.load(Ordering::Relaxed);
    assert!(completed > 0, "the workers worked");
    assert_eq!(status["by_status"]["completed"], json!(completed));
}

/// What a voter says of the election.
fn voter_says(cluster: &Cluster, at: usize) -> Value {
    let at = std::slice::from_ref(&cluster.voters[at].http);
    Caller::to(at).insist("GET", "/election/status", None).1
}

// Situation: a voter dies with its directory, and a node of its name starts with an empty one. Claim: it
// is refused as a new voter, takes the dead one's place when the command line says so, and has every job.
#[test]
fn a_dead_voters_place_is_taken_by_a_fresh_directory() {
    let mut cluster = three_and(0);
    let mut caller = Caller::to(&cluster.addresses());
    for number in 0..100 {
        caller.insist("POST", "/work/add", Some(&json!({"work_id": format!("j{number}")})));
    }
    let dead = (cluster.leader() + 1) % 3;
    let asked = (dead + 1) % 3;
    cluster.kill(dead);
    std::fs::remove_dir_all(cluster.data_dir(dead)).expect("its directory is lost");
    cluster.start(dead);
    let (as_new, label) = (cluster.voter_to_add(dead), cluster.voters[dead].label.clone());
    let at = [cluster.voters[asked].http.clone()];
    cluster.eventually("it is refused by what its directory is", || {
        match Caller::to(&at).call("POST", "/cluster/add", Some(&as_new)) {
            Reply::Answer { status: 409, body } => {
                let error = body["error"].as_str().unwrap_or_default();
                assert!(error.contains("fresh directory"), "{body}");
                Some(())
            }
            _ => None,
        }
    });
    let replaced = queue(&cluster, asked, &["replace-voter", &label]);
    assert_eq!(replaced, (Some(0), "replaced\n".to_owned()));
    cluster.wait_ready(dead);
    assert_eq!(voters(&cluster, dead), json!(["n1", "n2", "n3"]));
    all_replicas_agree(&cluster);
}

// Situation: a voter is removed by the command line, and started again. Claim: it says that it has no
// vote, and the others go on under the same leader and term.
/// api 4.remove-voter, 4.transfer, 4.add-voter
#[test]
fn a_removed_voter_that_is_started_again_disturbs_nobody_and_says_so() {
    let mut cluster = three_and(0);
    let leader = cluster.leader();
    let (gone, asked) = ((leader + 1) % 3, (leader + 2) % 3);
    let label = cluster.voters[gone].label.clone();
    assert_eq!(
        queue(&cluster, asked, &["remove-voter", &label]),
        (Some(0), "removed\n".to_owned())
    );
    let at = [cluster.voters[asked].http.clone()];
    let term = |what: &str| {
        let (_, status) = Caller::to(&at).insist("GET", "/election/status", None);
        status[what].clone()
    };
    let before = (term("term"), term("leader_id"));
    cluster.kill(gone);
    cluster.start(gone);
    let removed = std::slice::from_ref(&cluster.voters[gone].http);
    cluster.eventually("it says that it has no vote", || {
        match Caller::to(removed).call("GET", "/ready", None) {
            Reply::Answer { status: 503, body } => {
                body.to_string().contains("it was removed").then_some(())
            }
            _ => None,
        }
    });
    // Longer than several election timeouts.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((term("term"), term("leader_id")), before);
    let other = cluster.voters[asked].label.clone();
    assert_eq!(queue(&cluster, asked, &["transfer", &other]), (Some(0), format!("{other}\n")));
    assert_eq!(queue(&cluster, asked, &["transfer", "nobody"]).0, Some(3));
    assert_eq!(
        queue(&cluster, asked, &["add-voter", "n9", "--peer-addr", "127.0.0.1:1"]).0,
        Some(4)
    );
    let back = cluster.voter_to_add(gone);
    let address = back["peer_addr"].as_str().expect("an address");
    assert_eq!(
        queue(&cluster, asked, &["add-voter", &label, "--peer-addr", address]),
        (Some(0), "added\n".to_owned())
    );
}

// Situation: a follower is told to lead. Claim: the leader hands over to it, and everybody says why.
#[test]
fn a_voter_that_is_told_to_start_leads() {
    let cluster = three_and(0);
    let wanted = (cluster.leader() + 1) % 3;
    let label = cluster.voters[wanted].label.clone();
    change(&cluster, wanted, "/election/start", &json!({}));
    cluster.eventually("it leads", || (cluster.leader() == wanted).then_some(()));
    for voter in &cluster.voters {
        let at = std::slice::from_ref(&voter.http);
        cluster.eventually("everybody knows, and why", || {
            let (_, status) = Caller::to(at).insist("GET", "/election/status", None);
            let cause = &status["changes"][0]["cause"];
            (status["leader_id"] == label.as_str() && (cause == "start" || cause == "transfer"))
                .then_some(())
        });
    }
}

// Situation: one of three voters is alone, knows no leader and is told to start; then another is there.
// Claim: alone it says that nobody leads and does not lead; told again it does, and the cluster works on.
#[test]
fn a_voter_that_is_told_to_start_while_nobody_leads_does_so_once_it_has_a_quorum() {
    let mut cluster = three_and(0);
    let leader = cluster.leader();
    let (asked, back) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.kill(leader);
    cluster.kill(back);
    let leads_nobody =
        || voter_says(&cluster, asked)["leader_id"].as_str().is_none_or(str::is_empty);
    cluster.eventually("it knows no leader", || leads_nobody().then_some(()));
    let at = [cluster.voters[asked].http.clone()];
    match Caller::to(&at).call("POST", "/election/start", None) {
        Reply::Answer { status: 503, body } => assert_eq!(body["code"], "no_leader", "{body}"),
        other => panic!("nobody votes for it: {other:?}"),
    }
    assert!(leads_nobody());
    cluster.start(back);
    let started = change(&cluster, asked, "/election/start", &json!({}));
    assert_eq!(started["leader_id"], cluster.voters[asked].label.as_str());
    assert_eq!(cluster.leader(), asked);
    let (status, _) = Caller::to(&at).insist("POST", "/work/add", Some(&json!({"work_id": "x"})));
    assert_eq!(status, 201);
}
