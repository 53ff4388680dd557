//! What an operator asks of one node.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use quorate::{
    http::Operator,
    node::{BackupCheck, BackupFault},
    wire::{ApiError, Setting},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{PATIENCE, Setup, Site};

/// A process that notes what it was told.
#[derive(Debug, Default)]
struct Notes {
    told: Mutex<Vec<String>>,
}

impl Operator for Notes {
    fn shut_down(&self) {
        self.told.lock().unwrap().push("shut down".to_owned());
    }

    fn settings(&self) -> Vec<Setting> {
        vec![Setting {
            key: "hold_ms".to_owned(),
            value: "5000".to_owned(),
            origin: "default".to_owned(),
            changeable: true,
        }]
    }

    fn change(&self, values: &BTreeMap<String, String>) -> Result<(), ApiError> {
        if values.contains_key("listen") {
            return Err(ApiError::invalid("listen", "cannot change while the node runs"));
        }
        self.told.lock().unwrap().push(format!("{values:?}"));
        Ok(())
    }
}

async fn operated() -> (Site, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let operator = Some(Arc::clone(&notes) as Arc<dyn Operator>);
    let site = Setup { operator, ..Setup::default() }.start().await;
    site.until_ready().await;
    (site, notes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_is_answered_and_then_told_to_the_process() {
    let (site, notes) = operated().await;
    let reply = site.post("/admin/shutdown", "").await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.json(), json!({"status": "shutting_down", "node_id": "n1"}));
    assert_eq!(*notes.told.lock().unwrap(), ["shut down"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_shown_and_changes_go_to_the_process_as_text() {
    let (site, notes) = operated().await;
    let setting =
        json!({"key": "hold_ms", "value": "5000", "origin": "default", "changeable": true});
    assert_eq!(site.get("/admin/config").await.json(), json!({"settings": [setting]}));
    let change = r#"{"hold_ms": 3000, "log": "debug", "listen": null}"#;
    assert_eq!(site.done("/admin/config", change).await, json!({"settings": [setting]}));
    assert_eq!(*notes.told.lock().unwrap(), [r#"{"hold_ms": "3000", "log": "debug"}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_made_names_its_setting() {
    let (site, notes) = operated().await;
    for (body, field) in [
        (r#"{"listen": "127.0.0.1:1", "log": "debug"}"#, "listen"),
        (r#"{"log": ["debug"]}"#, "log"),
        (r#"{"log": "a", "log": "b"}"#, "log"),
    ] {
        let details = site.post("/admin/config", body).await.failed(400, "invalid_argument");
        assert_eq!(details["field"], field, "{body}");
    }
    site.post("/admin/config", "3000").await.failed(400, "invalid_argument");
    assert!(notes.told.lock().unwrap().is_empty(), "nothing was told to the process");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_within_another_program_takes_no_orders_to_the_process() {
    let site = Site::start().await;
    site.post("/admin/shutdown", "").await.failed(403, "forbidden");
    site.get("/admin/config").await.failed(403, "forbidden");
    site.post("/admin/config", "{}").await.failed(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_written_when_asked_for() {
    let site = Site::start().await;
    site.done("/work/add", r#"{"payload": 1}"#).await;
    let written = site.done("/admin/snapshot", "").await;
    let log_index = written["log_index"].as_u64().unwrap();
    assert_eq!(written, json!({"status": "written", "node_id": "n1", "log_index": log_index}));
    assert!(log_index > 0);
    // The figures of a node follow a moment after what they tell of.
    let told = async {
        let line = format!("\nqueue_raft_snapshot_index {log_index}\n");
        while !String::from_utf8(site.get("/metrics").await.body).unwrap().contains(&line) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, told).await.expect("the metrics name the snapshot");
}

/// Asks for a backup and reads its answer's head.
async fn begin_backup(site: &Site) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let request = "GET /admin/backup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap())
}

/// The data of a chunked body, and whether it came to its end.
fn unchunked(mut body: &[u8]) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let rest = &body[end + 2..];
        if size == 0 {
            return (data, true);
        }
        data.extend(&rest[..size.min(rest.len())]);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    (data, false)
}

fn judged(backup: &[u8]) -> Result<u64, BackupFault> {
    let mut check = BackupCheck::default();
    check.take(backup);
    check.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_has_every_acknowledged_job_and_is_whole() {
    let site = Site::start().await;
    for number in 0..20 {
        let payload = "p".repeat(50_000);
        let job = json!({"work_id": format!("job-{number}"), "payload": payload});
        site.done("/work/add", &job.to_string()).await;
    }
    let (mut stream, head) = begin_backup(&site).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: application/octet-stream\r\n"), "{head}");
    let name = "content-disposition: attachment; filename=\"queue-20.backup\"\r\n";
    assert!(head.contains(name) && head.contains("x-queue-rev: 20\r\n"), "{head}");
    let mut body = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut body)).await.expect("it ends").unwrap();
    let (backup, is_whole) = unchunked(&body);
    assert!(is_whole);
    assert_eq!(judged(&backup), Ok(backup.len() as u64));
    for number in 0..20 {
        let id = format!("job-{number}");
        let is_there = backup.windows(id.len()).any(|window| window == id.as_bytes());
        assert!(is_there, "{id}");
    }
    assert!(judged(&backup[..backup.len() / 2]).is_err(), "a half is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_any_node_has_what_another_has_acknowledged() {
    let mut starting = Setup::three().into_iter().map(Setup::start);
    let [one, other, third] = [(); 3].map(|()| starting.next().unwrap());
    let sites: [Site; 3] = tokio::join!(one, other, third).into();
    for site in &sites {
        site.until_ready().await;
    }
    for (number, site) in sites.iter().enumerate() {
        let id = format!("through-{number}");
        let job = json!({"work_id": id, "payload": 1}).to_string();
        sites[(number + 1) % 3].done("/work/add", &job).await;
        let (mut stream, head) = begin_backup(site).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut body = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut body)).await.expect("it ends").unwrap();
        let (backup, is_whole) = unchunked(&body);
        assert!(is_whole && judged(&backup).is_ok());
        assert!(backup.windows(id.len()).any(|window| window == id.as_bytes()), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_backup_at_a_time_and_one_that_nobody_takes_any_more_gives_its_place_up() {
    let site = Site::start().await;
    // More than the buffers between the two ends hold.
    for number in 0..24 {
        let job = json!({"payload": format!("{number}{}", "x".repeat(1_000_000))});
        site.done("/work/add", &job.to_string()).await;
    }
    let (stream, head) = begin_backup(&site).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let details = site.get("/admin/backup").await.failed(429, "rate_limited");
    assert!(details["retry_after_ms"].as_u64().unwrap() > 0);
    site.done("/work/add", r#"{"work_id": "meanwhile", "payload": 1}"#).await;
    drop(stream);
    let again = async {
        loop {
            let (mut stream, head) = begin_backup(&site).await;
            if head.starts_with("HTTP/1.1 200") {
                let mut body = Vec::new();
                stream.read_to_end(&mut body).await.unwrap();
                return unchunked(&body);
            }
        }
    };
    let (backup, is_whole) = timeout(PATIENCE, again).await.expect("the place is free again");
    assert!(is_whole && judged(&backup).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_gives_no_backup() {
    let site = Site::start().await;
    site.handle.stop().await;
    site.get("/admin/backup").await.failed(503, "shutting_down");
}
