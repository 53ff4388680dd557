//! The published commands of the system that this one replaces, letter for letter; but for what its status
//! was piped through: two lines of Python that Python refuses (a backslash within an f-string's braces). They
//! print `leader_id` and `alive_peers`, which are asserted here instead.

use std::process::Command;

use serde_json::Value;

use crate::support::Caller;

const ADD: &str = r#"curl -X POST http://localhost:8770/work/add \
  -H "Content-Type: application/json" \
  -d '{"work_type": "selfplay", "board_type": "hex8", "num_players": 2, "num_games": 1000}'"#;

const STATUS: &str = "curl -s http://localhost:8770/work/status | jq .";

const CLAIM: &str = r#"curl -X POST http://localhost:8770/work/claim \
  -H "Content-Type: application/json" \
  -d '{"node_id": "my-node"}'"#;

const CLUSTER: &str = "curl -s http://localhost:8770/status";

// Situation: a node with no settings but its directory listens on 8770. Claim: the seed's commands do what the
// seed says of them.
#[test]
fn the_seed_commands_run_unchanged_on_port_8770() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut server = Command::new(env!("CARGO_BIN_EXE_queue"))
        .arg("serve")
        .env("P2P_NODE_ID", "my-voter")
        .env("P2P_DATA_DIR", directory.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("queue serve starts");
    let outcome = std::panic::catch_unwind(|| {
        let (status, _) = Caller::to(&["127.0.0.1:8770".to_owned()]).insist("GET", "/ready", None);
        assert_eq!(status, 200);

        let added = shell(ADD);
        assert_eq!(
            (&added["status"], &added["work_type"]),
            (&"added".into(), &"selfplay".into()),
            "{added}"
        );
        let status = shell(STATUS);
        assert_eq!(status["by_status"]["pending"], 1, "{status}");
        assert_eq!(status["by_type"]["selfplay"], 1, "{status}");
        let claimed = shell(CLAIM);
        assert_eq!(claimed["work"]["work_id"], added["work_id"], "{claimed}");
        let payload =
            serde_json::json!({"board_type": "hex8", "num_players": 2, "num_games": 1000});
        assert_eq!(claimed["work"]["payload"], payload, "{claimed}");
        let cluster = shell(CLUSTER);
        assert_eq!(cluster["leader_id"], "my-voter", "{cluster}");
        assert_eq!(cluster["alive_peers"], 1, "{cluster}");
    });
    server.kill().expect("the server is killed");
    server.wait().expect("the server is reaped");
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure);
    }
}

/// Runs a command line as a person would, and reads what it printed.
fn shell(command: &str) -> Value {
    let output = Command::new("bash").args(["-c", command]).output().expect("bash runs");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| {
        panic!("{command}\nprinted {text:?} and {:?}", String::from_utf8_lossy(&output.stderr))
    })
}
