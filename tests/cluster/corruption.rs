//! A voter whose disk lies must say so and stay away.

use std::{fs, path::Path, time::Duration};

use serde_json::json;

use crate::support::{Caller, Cluster};

// Situation: one bit in the middle of a stopped voter's log is flipped. Claim: the voter refuses to start,
// names the file and the place, and the other two go on.
#[test]
fn a_flipped_bit_in_the_log_is_refused_at_the_start() {
    let mut cluster = Cluster::of_three();
    let mut caller = Caller::to(&cluster.addresses());
    for number in 0..200 {
        let body = json!({"work_id": format!("job-{number}"), "payload": "x".repeat(200)});
        assert_eq!(caller.insist("POST", "/work/add", Some(&body)).0, 201);
    }
    let victim = (cluster.leader() + 1) % 3;
    cluster.kill(victim);
    let file = largest_log_file(&cluster.data_dir(victim));
    let mut bytes = fs::read(&file).expect("the log");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("a log that is not empty");
    bytes[end / 2] ^= 0x10;
    fs::write(&file, &bytes).expect("the log, with a bit flipped");

    let already = cluster.log(victim).len();
    cluster.start(victim);
    let status = cluster.wait_exit(victim, Duration::from_secs(20));
    let log = cluster.log(victim).split_off(already);
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{log}");
    let name = file.file_name().and_then(|name| name.to_str()).expect("a file name");
    assert!(log.contains("corrupt") && log.contains(name), "it says what and where:\n{log}");

    let survivors: Vec<String> = (0..3)
        .filter(|index| *index != victim)
        .map(|index| cluster.voters[index].http.clone())
        .collect();
    let (status, answer) =
        Caller::to(&survivors).insist("POST", "/work/add", Some(&json!({"work_id": "after"})));
    assert_eq!(status, 201, "{answer}");
}

fn largest_log_file(data_dir: &Path) -> std::path::PathBuf {
    fs::read_dir(data_dir.join("log"))
        .expect("a log directory")
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .max_by_key(|path| {
            let bytes = fs::read(path).unwrap_or_default();
            bytes.iter().filter(|byte| **byte != 0).count()
        })
        .expect("a log file")
}
