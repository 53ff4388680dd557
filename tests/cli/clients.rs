//! The client verbs against a single voter.

use std::process::Stdio;

use serde_json::Value;

use crate::harness::{PATIENCE, Server, User, finish, two_ports, until};

/// A user whose commands find the server.
fn user_and_server() -> (User, Server) {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    user.set("QUEUE_ADDR", &server.address);
    (user, server)
}

/// api 4.verbs, 4.exit.0
#[test]
fn a_job_goes_from_add_to_completed() {
    let (user, _server) = user_and_server();
    assert_eq!(user.queue(&["leader"]).with_code(0), "n1");
    let id = user.queue(&["add", "mail", "--payload", "{\"to\": \"a\"}"]).with_code(0);
    assert_eq!(id.len(), 26, "{id}");
    let claimed = user.queue(&["claim", "mail", "--worker", "w1"]).with_code(0);
    let (claimed_id, token) = claimed.split_once(' ').unwrap();
    assert_eq!(claimed_id, id);
    assert_eq!(user.queue(&["claim", "--worker", "w1"]).with_code(8), "", "nothing is left");
    let held = ["--token", token];
    assert_eq!(user.queue(&[&["heartbeat", &id], &held[..]].concat()).with_code(0), "extended");
    let complete = [&["complete", &id, "--result", "{\"ok\":true}"], &held[..]].concat();
    assert_eq!(user.queue(&complete).with_code(0), "completed");
    assert_eq!(user.queue(&complete).with_code(0), "completed", "repeating it is safe");
    assert_eq!(user.queue(&["get", &id]).with_code(0), format!("{id} completed"));
    let job: Value =
        serde_json::from_str(&user.queue(&["get", &id, "-o", "json"]).with_code(0)).unwrap();
    assert_eq!(job["payload"]["to"], "a");
    assert_eq!(job["result"]["ok"], true);
    let status = user.queue(&["status"]).with_code(0);
    assert!(status.contains("leader n1") && status.contains("completed 1"), "{status}");
}

#[test]
fn fail_release_and_cancel_do_what_they_say() {
    let (user, _server) = user_and_server();
    user.queue(&["add", "--id", "a", "--max-attempts", "2"]).with_code(0);
    let claim = || {
        let line = user.queue(&["claim", "--worker", "w", "--wait", "10s"]).with_code(0);
        line.split_once(' ').unwrap().1.to_owned()
    };
    let token = claim();
    assert_eq!(user.queue(&["release", "a", "--token", &token]).with_code(0), "released");
    let token = claim();
    let fail = ["fail", "a", "--error", "boom", "--retry-in", "1ms", "--token", &token];
    assert_eq!(user.queue(&fail).with_code(0), "retrying");
    let token = claim();
    let fail = ["fail", "a", "--error", "boom", "--no-retry", "--token", &token];
    assert_eq!(user.queue(&fail).with_code(0), "failed");
    assert!(user.queue(&["get", "a", "-o", "table"]).with_code(0).contains("boom"));
    user.queue(&["get", "a", "--wait"]).with_code(7);
    user.queue(&["add", "--id", "b"]).with_code(0);
    assert_eq!(user.queue(&["cancel", "b"]).with_code(0), "cancelled");
    user.queue(&["claim", "--worker", "w"]).with_code(8);
}

#[test]
fn a_job_added_after_others_is_handed_out_when_they_have_completed() {
    let (user, _server) = user_and_server();
    for words in
        [&["--id", "a"][..], &["--id", "b"], &["--id", "c", "--after", "a", "--after", "b"]]
    {
        user.queue(&[&["add"], words].concat()).with_code(0);
    }
    assert_eq!(user.queue(&["get", "c"]).with_code(0), "c blocked");
    let held = user.queue(&["claim", "--worker", "w", "--max", "9"]).with_code(0);
    let held: Vec<_> = held.lines().map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(held.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ["a", "b"]);
    for (id, token) in held {
        user.queue(&["complete", id, "--token", token]).with_code(0);
    }
    let next = user.queue(&["claim", "--worker", "w"]).with_code(0);
    assert!(next.starts_with("c "), "{next}");
    let complaint = user.queue(&["add", "--after", "nowhere"]).complaint(2);
    assert!(complaint.contains("nowhere"), "{complaint}");
}

#[test]
fn one_job_of_a_group_is_held_at_a_time() {
    let (user, _server) = user_and_server();
    for id in ["a", "b"] {
        user.queue(&["add", "--id", id, "--group", "disk"]).with_code(0);
    }
    let claim = ["claim", "--worker", "w", "--max", "9"];
    let held = user.queue(&claim).with_code(0);
    let token = held.strip_prefix("a ").expect("the older one, alone");
    user.queue(&claim).with_code(8);
    user.queue(&["complete", "a", "--token", token]).with_code(0);
    assert!(user.queue(&claim).with_code(0).starts_with("b "));
}

#[test]
fn a_job_that_nobody_claims_in_time_expires() {
    let (user, _server) = user_and_server();
    user.queue(&["add", "--id", "a", "--expires-in", "50ms"]).with_code(0);
    assert_eq!(user.queue(&["get", "a", "--wait=20s"]).with_code(7), "a expired");
    user.queue(&["claim", "--worker", "w"]).with_code(8);
}

#[test]
fn a_conflict_and_a_missing_job_have_their_own_codes() {
    let (user, _server) = user_and_server();
    user.queue(&["add", "--id", "a"]).with_code(0);
    user.queue(&["claim", "--worker", "w1"]).with_code(0);
    let complaint = user.queue(&["complete", "a", "--token", "1"]).complaint(4);
    assert!(complaint.contains("stale_token") && complaint.contains("w1"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    let complaint = user.queue(&["get", "nowhere", "-o", "json"]).complaint(3);
    let error: Value = serde_json::from_str(&complaint).unwrap();
    assert_eq!((&error["code"], &error["applied"]), (&"not_found".into(), &"no".into()));
    let other = ["add", "--id", "a", "--payload", "7"];
    assert!(user.queue(&other).complaint(4).contains("id_conflict"));
    assert_eq!(user.queue(&["add", "--id", "a"]).with_code(0), "a", "adding it again is safe");
    assert_eq!(user.queue(&["heartbeat", "a", "--token", "1"]).with_code(4), "lost");
}

/// api 4.add.wait
#[test]
fn waiting_ends_when_the_job_does() {
    let (user, _server) = user_and_server();
    let waiting = user.command(&["add", "--id", "a", "--wait"]).spawn().unwrap();
    let claimed = user.queue(&["claim", "--worker", "w", "--wait", "20s"]).with_code(0);
    let token = claimed.split_once(' ').unwrap().1;
    user.queue(&["complete", "a", "--token", token]).with_code(0);
    assert_eq!(finish(waiting).with_code(0), "a completed");
    user.queue(&["add", "--id", "b", "--wait=50ms"]).with_code(5);
    assert_eq!(user.queue(&["get", "b"]).with_code(0), "b pending", "it is still to be done");
}

/// api 4.claim.max
#[test]
fn many_jobs_are_claimed_at_once_and_printed_in_every_format() {
    let (user, _server) = user_and_server();
    for id in ["a", "b", "c"] {
        user.queue(&["add", "--id", id]).with_code(0);
    }
    let claim = ["claim", "--worker", "w", "--max", "2"];
    let plain = user.queue(&claim).with_code(0);
    let ids: Vec<_> = plain.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ids, ["a", "b"]);
    let jsonl = user.queue(&[&claim[..], &["-o", "jsonl"]].concat()).with_code(0);
    let job: Value = serde_json::from_str(&jsonl).unwrap();
    assert_eq!(job["work_id"], "c");
    let table = user.queue(&[&claim[..], &["-o", "table"]].concat()).with_code(8);
    assert_eq!(table.trim(), "no work available");
}

/// api 4.addr.next
#[test]
fn no_server_is_worth_a_retry_and_the_next_address_is_tried() {
    let (mut user, server) = user_and_server();
    let nobody = format!("http://127.0.0.1:{}", two_ports());
    let complaint = user.queue(&["leader", "--addr", &nobody, "-o", "json"]).complaint(5);
    let error: Value = serde_json::from_str(&complaint).unwrap();
    assert_eq!((&error["code"], &error["applied"]), (&"unreachable".into(), &"no".into()));
    user.set("QUEUE_ADDR", &format!("{nobody},{}", server.address));
    assert_eq!(user.queue(&["add", "--id", "a"]).with_code(0), "a");
}

// Situation: the first address is a node in no cluster, as after its directory was wiped. Claim: it hides
// nothing that the next one knows.
#[test]
fn a_node_without_a_leader_is_passed_over_for_one_that_knows() {
    let (user, server) = user_and_server();
    let port = two_ports();
    let (listen, nobody) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", two_ports()));
    let data_dir = user.path("alone").display().to_string();
    let words = ["serve", "--listen", &listen, "--data-dir", &data_dir, "--node-id", "n2"];
    let expects = ["--bootstrap-expect", "2", "--join", &nobody];
    let alone = Server::spawn(&user, port, &[&words[..], &expects].concat());
    let asked = ["status", "--addr", &alone.address];
    let mut said = String::new();
    assert!(until(PATIENCE, || {
        let status = user.queue(&asked);
        said = status.stdout;
        status.code == Some(0)
    }));
    assert!(said.contains("leader nobody"), "{said}");
    user.queue(&["leader", "--addr", &alone.address]).with_code(5);
    let both = format!("{},{}", alone.address, server.address);
    assert_eq!(user.queue(&["leader", "--addr", &both]).with_code(0), "n1");
    assert!(user.queue(&["status", "--addr", &both]).with_code(0).contains("leader n1"));
}

/// api 4.precedence.client
#[test]
fn the_clients_configuration_file_is_found_and_flags_beat_it() {
    let (user, server) = {
        let user = User::new();
        let server = Server::start(&user, &user.path("data"));
        (user, server)
    };
    std::fs::create_dir_all(user.path(".config/queue")).unwrap();
    let file = format!("addr = \"{}\"\noutput = \"json\"\n", server.address);
    user.write(".config/queue/config.toml", &file);
    let answer: Value = serde_json::from_str(&user.queue(&["leader"]).with_code(0)).unwrap();
    assert_eq!(answer["leader_id"], "n1");
    assert_eq!(user.queue(&["leader", "-o", "plain"]).with_code(0), "n1");
    user.write(".config/queue/config.toml", "adr = \"x\"\n");
    let complaint = user.queue(&["leader"]).complaint(2);
    assert!(complaint.contains("adr: unknown key"), "{complaint}");
}

#[test]
fn a_wrong_command_line_is_usage_with_a_hint_and_sends_nothing() {
    let user = User::new();
    for (words, hint) in [
        (&["add", "--priorty", "3"][..], "--priority"),
        (&["clam"], "claim"),
        (&["add", "--payload", "hello"], "is not JSON"),
        (&["add", "--delay", "5"], "5s"),
        (&["complete", "a"], "--token"),
        (&["leader", "--timeout", "9"], "has no unit"),
    ] {
        let complaint = user.queue(words).complaint(2);
        assert!(complaint.contains(hint), "{words:?}: {complaint}");
    }
    let complaint = user.queue(&["add", "--priorty", "3", "-o", "json"]).complaint(2);
    assert_eq!(serde_json::from_str::<Value>(&complaint).unwrap()["code"], "usage");
}

#[test]
fn help_is_short_and_shows_examples() {
    let user = User::new();
    let help = user.queue(&["-h"]).with_code(0);
    assert!(help.contains("queue add --payload") && help.contains("Exit codes"), "{help}");
    assert!(help.lines().count() < 70, "{} lines", help.lines().count());
    assert!(user.queue(&["--version"]).with_code(0).starts_with("queue "));
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let (user, _server) = user_and_server();
    let mut command = user.command(&["status"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    // Closed before the first byte is written, or soon after: both are fine.
    drop(child.stdout.take());
    child.stdout = None;
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
