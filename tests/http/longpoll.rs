//! Long polls: woken by work, passed over when their client is gone.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::support::{PATIENCE, Site, poll, read_reply};

#[tokio::test(flavor = "multi_thread")]
async fn one_added_job_ends_one_long_poll() {
    let site = Site::start().await;
    let mut waiting = poll(&site, "w1", "q").await;
    let early = timeout(Duration::from_millis(100), read_reply(&mut waiting)).await;
    assert!(early.is_err(), "it waits");
    site.done("/work/add", r#"{"work_id":"j","queue":"q"}"#).await;
    let claim = read_reply(&mut waiting).await.unwrap().json();
    assert_eq!((&claim["status"], &claim["work"]["work_id"]), (&json!("claimed"), &json!("j")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_without_work_ends_in_time() {
    let site = Site::start().await;
    let start = Instant::now();
    let claim = site.done("/work/claim", r#"{"node_id":"w","wait_ms":300}"#).await;
    assert_eq!(claim["status"], "no_work_available");
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < PATIENCE);
}

// Situation: a worker hung up while it waited, and another waits behind it. Claim: the job goes to the
// one that is there, at its first attempt or after a release that does not count.
/// api 2.claim.gone
#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_whose_connection_is_gone_is_passed_over() {
    let site = Site::start().await;
    for round in 0..5 {
        let queue = format!("q{round}");
        let gone = poll(&site, "gone", &queue).await;
        let mut there = poll(&site, "there", &queue).await;
        drop(gone);
        site.done("/work/add", &format!(r#"{{"work_id":"j{round}","queue":"{queue}"}}"#)).await;
        let claim = read_reply(&mut there).await.unwrap().json();
        assert_eq!(claim["work"]["work_id"], format!("j{round}"), "{claim}");
        assert_eq!(claim["work"]["attempt"], 1, "{claim}");
    }
}

// Situation: the only worker hung up in its long poll just as a job came. Claim: the job does not stay
// with it until the lease ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_nobody_can_receive_goes_back() {
    let site = Site::start().await;
    for round in 0..10 {
        let (queue, work_id) = (format!("q{round}"), format!("j{round}"));
        let waiting = poll(&site, "gone", &queue).await;
        let body = format!(r#"{{"work_id":"{work_id}","queue":"{queue}"}}"#);
        let (_, ()) = tokio::join!(site.done("/work/add", &body), async move { drop(waiting) });
        // Given back, or never given: either way another worker gets it within seconds, not a lease.
        let claim = format!(r#"{{"node_id":"next","queues":["{queue}"],"wait_ms":20000}}"#);
        let claim = site.done("/work/claim", &claim).await;
        assert_eq!(claim["work"]["work_id"], work_id, "{claim}");
        assert_eq!(claim["work"]["attempt"], 1, "{claim}");
    }
}

// Situation: a worker claims far more than the sockets' buffers hold, reads none of it and goes. Claim:
// the server releases all of it, the attempts not counted; but what was claimed under a request id of
// the worker's own stays with it, because the worker will ask again.
/// api 2.claim.unwritten
#[tokio::test(flavor = "multi_thread")]
async fn grants_whose_answer_cannot_be_written_go_back_unless_the_worker_can_repeat_its_claim() {
    let site = Site::start().await;
    let payload = "x".repeat(1_000_000);
    for (queue, extra) in [("mine", ""), ("named", r#","request_id":"r1""#)] {
        for index in 0..8 {
            let body = format!(
                r#"{{"work_id":"{queue}{index}","queue":"{queue}","payload":"{payload}"}}"#
            );
            site.done("/work/add", &body).await;
        }
        let body =
            format!(r#"{{"node_id":"gone","queues":["{queue}"],"max":8,"lease_ms":"1h"{extra}}}"#);
        let head = format!(
            "POST /work/claim_batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = site.connect().await;
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        stream.readable().await.unwrap();
        let state = site.state_of(&format!("{queue}0")).await;
        assert_eq!(state, "claimed", "the answer has begun to arrive");
    }
    let next = r#"{"node_id":"next","max":8,"queues":["mine","named"],"wait_ms":20000}"#;
    let mut items = Vec::new();
    while items.len() < 8 {
        let got = site.done("/work/claim_batch", next).await;
        assert_eq!(got["status"], "claimed", "{} of 8", items.len());
        items.extend(got["items"].as_array().unwrap().clone());
    }
    for item in items {
        assert_eq!((&item["queue"], &item["attempt"]), (&json!("mine"), &json!(1)));
    }
    assert_eq!(site.get("/work/for-node/gone").await.json()["count"], 8);
    assert_eq!(site.state_of("named0").await, "claimed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_http2_stream_gives_its_place_up() {
    let site = Site::start().await;
    let stream = TokioIo::new(site.connect().await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let claim = |worker: &str| {
        let body = format!(r#"{{"node_id":"{worker}","queues":["q"],"wait_ms":30000}}"#);
        let request = hyper::Request::post("http://localhost/work/claim");
        request.body(Full::new(bytes::Bytes::from(body))).unwrap()
    };
    // Dropping the answer's future resets the stream; the connection lives on.
    let gone = timeout(Duration::from_millis(200), sender.send_request(claim("gone"))).await;
    assert!(gone.is_err(), "it waits");
    let there = sender.send_request(claim("there"));
    let (reply, _) = tokio::join!(there, site.done("/work/add", r#"{"work_id":"j","queue":"q"}"#));
    let body = reply.unwrap().into_body().collect().await.unwrap().to_bytes();
    let claim: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&claim["work"]["work_id"], &claim["work"]["attempt"]), (&json!("j"), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn get_waits_for_the_end_of_a_job() {
    let site = Site::start().await;
    site.done("/work/add", r#"{"work_id":"j"}"#).await;
    let early = site.get("/work/get/j?wait_ms=100").await.json();
    assert_eq!(early["state"], "pending");
    let waiting = site.get("/work/get/j?wait_ms=30s");
    let (waited, _) = tokio::join!(waiting, site.done("/work/cancel", r#"{"work_id":"j"}"#));
    assert_eq!(waited.json()["state"], "cancelled");
}
