//! The contract of `queue history`.

use serde_json::Value;

use crate::harness::{Server, User};

/// api 4.history
#[test]
fn history_shows_what_is_finished_the_newest_first() {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    user.set("QUEUE_ADDR", &server.address);
    for id in ["a", "b", "unfinished"] {
        user.queue(&["add", "--id", id]).with_code(0);
    }
    for id in ["b", "a"] {
        user.queue(&["cancel", id]).with_code(0);
    }
    let printed = user.queue(&["history", "-o", "json"]).with_code(0);
    let answer: Value = serde_json::from_str(&printed).unwrap();
    let ids = answer["history"].as_array().unwrap().iter().map(|job| job["work_id"].clone());
    assert_eq!(ids.collect::<Vec<_>>(), ["a", "b"]);
}
