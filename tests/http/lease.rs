//! `GET /lease/status`: how the leader stands with its quorum.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{PATIENCE, Setup, Site};

async fn status(site: &Site) -> Value {
    let reply = site.get("/lease/status").await;
    assert_eq!(reply.status, 200);
    reply.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_voter_is_its_own_quorum() {
    let site = Site::start().await;
    let status = status(&site).await;
    assert_eq!((&status["leader_id"], &status["is_leader"]), (&json!("n1"), &json!(true)));
    assert_eq!(status["quorum_acknowledged_ms_ago"], 0);
    assert_eq!(status["reads"], "read_index");
    let follower = &status["followers"][0];
    assert_eq!((&follower["node_id"], &follower["acknowledged_ms_ago"]), (&json!("n1"), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_names_who_acknowledged_and_a_follower_only_who_leads() {
    let mut starting = Setup::three().into_iter().map(Setup::start);
    let [one, other, third] = [(); 3].map(|()| starting.next().unwrap());
    let sites: [Site; 3] = tokio::join!(one, other, third).into();
    for site in &sites {
        site.until_ready().await;
    }
    let followed = async {
        loop {
            for site in &sites {
                let status = status(site).await;
                let followers = status["followers"].as_array().unwrap();
                if status["is_leader"] == false {
                    assert_eq!(
                        (followers.len(), &status["quorum_acknowledged_ms_ago"]),
                        (0, &Value::Null)
                    );
                    continue;
                }
                let has_caught_up = |follower: &Value| {
                    follower["match_index"] == status["commit_index"]
                        && follower["acknowledged_ms_ago"].is_u64()
                        && follower["is_voter"] == true
                };
                if followers.len() == 3 && followers.iter().all(has_caught_up) {
                    return status;
                }
            }
        }
    };
    let status = timeout(PATIENCE, followed).await.expect("everyone follows");
    // The nodes send heartbeats each 200 ms; a machine that is busy may be late.
    let acknowledged =
        Duration::from_millis(status["quorum_acknowledged_ms_ago"].as_u64().unwrap());
    assert!(acknowledged < PATIENCE, "{acknowledged:?}");
}
