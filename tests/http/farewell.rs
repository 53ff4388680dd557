//! A server that stops takes its leave: what was sent to it is answered, and the answer says that it is the
//! last.

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quorate::http::Limits;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use crate::support::{PATIENCE, Reply, Site, read_reply};

/// Much longer than a test may wait: for polls that are to be answered early.
const WAIT_MS: u64 = 60_000;

async fn ask(stream: &mut TcpStream, path: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    read_reply(stream).await.expect("what was sent is answered")
}

fn is_last(reply: &Reply) -> bool {
    reply.headers.get("connection").is_some_and(|value| value == "close")
}

// Situation: a client goes on asking over a kept connection while the server stops. Claim: each request is
// answered, until an answer says that it is the last; a fresh connection has one answer, an idle one its next;
// and with the last connection the server ends, before its farewell is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_ends_with_an_answer() {
    let limits = Limits { farewell: 10 * PATIENCE, ..Limits::default() };
    let mut site = Site::with(limits).await;
    let (mut kept, mut idle) = (site.connect().await, site.connect().await);
    assert!(!is_last(&ask(&mut idle, "/health").await));
    assert!(!is_last(&ask(&mut kept, "/health").await));
    site.begin_to_stop();
    let until_last = async { while !is_last(&ask(&mut kept, "/health").await) {} };
    timeout(PATIENCE, until_last).await.expect("it says so");
    assert!(is_last(&ask(&mut site.connect().await, "/health").await));
    assert!(is_last(&ask(&mut idle, "/health").await));
    site.stop_serving().await;
    assert!(TcpStream::connect(site.address).await.is_err());
}

// Situation: one client waits for a job's end and one for a job, over HTTP/1 and HTTP/2, when the server stops.
// Claim: each is answered with what there is.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_answered_when_the_server_stops() {
    let mut site = Site::start().await;
    site.done("/work/add", r#"{"work_id":"j"}"#).await;
    let mut waiting = site.connect().await;
    let stream = TokioIo::new(site.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let claim = json!({"node_id": "w", "queues": ["nothing"], "wait_ms": WAIT_MS}).to_string();
    let request = hyper::Request::post("http://localhost:8770/work/claim");
    let claiming = tokio::spawn(
        sender.send_request(request.body(Full::new(bytes::Bytes::from(claim))).unwrap()),
    );
    let path = format!("/work/get/j?wait_ms={WAIT_MS}");
    let ended = async {
        let answered = ask(&mut waiting, &path).await;
        assert_eq!((answered.status, &answered.json()["state"]), (200, &json!("pending")));
        assert!(is_last(&answered));
    };
    let stopped = async {
        while site.handle.figures().claims_parked == 0 {
            tokio::task::yield_now().await;
        }
        site.stop_serving().await;
    };
    let both = async { tokio::join!(ended, stopped) };
    timeout(PATIENCE, both).await.expect("nobody waits any longer");
    let claimed = claiming.await.unwrap().unwrap();
    assert_eq!(claimed.status(), 200);
    let body = claimed.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["status"], "no_work_available");
    assert!(timeout(PATIENCE, connection).await.unwrap().unwrap().is_ok(), "it ends in order");
}
