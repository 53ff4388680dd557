//! Each row of the error table, as a client meets it.

use quorate::http::{Exposure, HttpOptions, ServeError, serve};
use serde_json::{Value, json};

use crate::support::Site;

/// api 1.error.400.json
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_parse_is_invalid_json() {
    let site = Site::start().await;
    let deep = format!(r#"{{"payload":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let bodies: [&[u8]; 7] = [
        b"",
        b"{",
        b"{\"payload\":NaN}",
        b"{} {}",
        b"{\"payload\":\"\xff\"}",
        b"board_type=hex8",
        deep.as_bytes(),
    ];
    for path in ["/work/add", "/work/add_batch", "/work/complete", "/work/heartbeat", "/work/claim"]
    {
        for body in bodies {
            let reply = site.send("POST", path, &[], body).await;
            reply.failed(400, "invalid_json");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_field_is_named() {
    let site = Site::start().await;
    let cases = [
        ("/work/add", r#"{"priority":101}"#, "priority"),
        ("/work/add", r#"{"payload":{},"priorty":5}"#, "priorty"),
        ("/work/add", r#"{"payload":1,"payload":2}"#, "payload"),
        ("/work/claim", r#"{"queues":["a"]}"#, "node_id"),
        ("/work/claim", r#"{"node_id":"w","max":5}"#, "max"),
        ("/work/claim_batch", r#"{"node_id":"w","max":1001}"#, "max"),
        ("/work/start", r#"{"work_id":"j"}"#, "token"),
        ("/work/heartbeat", r#"{"items":{}}"#, "items"),
        ("/work/fail", r#"{"work_id":"j","token":1,"reason":"x"}"#, "reason"),
        ("/work/release", r#"{"work_id":"j","token":1.5}"#, "token"),
        ("/work/cancel", "{}", "work_id"),
    ];
    for (path, body, field) in cases {
        let details = site.post(path, body).await.failed(400, "invalid_argument");
        assert_eq!(details["field"], field, "{path} {body}");
    }
    for (path, field) in [
        ("/work/get/a%20b", "work_id"),
        ("/work/get/%ff", "work_id"),
        ("/work/get/a?wait_ms=60001", "wait_ms"),
        ("/work/status?consistency=maybe", "consistency"),
        ("/work/for-node/a%2Fb", "node_id"),
    ] {
        assert_eq!(site.get(path).await.failed(400, "invalid_argument")["field"], field, "{path}");
    }
    let held = site.send("POST", "/work/add", &[("X-Queue-Hold-Ms", "soon")], b"{}").await;
    assert_eq!(held.failed(400, "invalid_argument")["field"], "X-Queue-Hold-Ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_wrong_verbs_are_errors_of_the_table() {
    let site = Site::start().await;
    for path in ["/", "/work", "/work/", "/work/get/", "/work/add/", "/WORK/add", "/work/status/x"]
    {
        site.get(path).await.failed(404, "not_found");
    }
    let wrong = site.get("/work/add").await;
    wrong.failed(405, "method_not_allowed");
    assert_eq!(wrong.headers["allow"], "POST");
    for method in ["POST", "DELETE", "OPTIONS", "PATCH"] {
        let wrong = site.send(method, "/work/status", &[], b"").await;
        wrong.failed(405, "method_not_allowed");
        assert_eq!(wrong.headers["allow"], "GET,HEAD");
    }
    site.send("BREW", "/nowhere", &[], b"").await.failed(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_job_is_not_found() {
    let site = Site::start().await;
    let held = r#"{"work_id":"no","token":1}"#;
    for path in ["/work/start", "/work/complete", "/work/fail", "/work/release"] {
        assert_eq!(site.post(path, held).await.failed(404, "not_found")["work_id"], "no", "{path}");
    }
    site.post("/work/cancel", r#"{"work_id":"no"}"#).await.failed(404, "not_found");
    site.get("/work/get/no").await.failed(404, "not_found");
    site.get("/work/get/no?wait_ms=10000").await.failed(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_token_is_told_how_it_ended_and_who_holds_the_job_now() {
    let site = Site::start().await;
    site.done("/work/add", r#"{"work_id":"j"}"#).await;
    let first = site.done("/work/claim", r#"{"node_id":"w1"}"#).await["work"]["token"].clone();
    let stale = format!(r#"{{"work_id":"j","token":{first}}}"#);
    site.done("/work/release", &stale).await;
    let idle = site.post("/work/complete", &stale).await.failed(409, "stale_token");
    assert_eq!((&idle["current_token"], &idle["holder"]), (&Value::Null, &Value::Null));
    assert_eq!((&idle["state"], &idle["ended_as"]), (&json!("pending"), &json!("released")));
    let second = site.done("/work/claim", r#"{"node_id":"w2"}"#).await["work"]["token"].clone();
    let held = site.post("/work/complete", &stale).await.failed(409, "stale_token");
    assert_eq!((&held["current_token"], &held["holder"]), (&second, &json!("w2")));
    let made_up = site.post("/work/complete", r#"{"work_id":"j","token":999999}"#).await;
    assert_eq!(made_up.failed(409, "stale_token")["ended_as"], Value::Null);
}

/// api 1.error.409.wrong-state
#[tokio::test(flavor = "multi_thread")]
async fn a_completed_job_cannot_be_cancelled() {
    let site = Site::start().await;
    site.done("/work/add", r#"{"work_id":"j"}"#).await;
    let token = site.done("/work/claim", r#"{"node_id":"w1"}"#).await["work"]["token"].clone();
    site.done("/work/complete", &format!(r#"{{"work_id":"j","token":{token}}}"#)).await;
    let refused = site.post("/work/cancel", r#"{"work_id":"j"}"#).await;
    assert_eq!(refused.failed(409, "wrong_state")["state"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_says_how_large_it_may_be() {
    let site = Site::start().await;
    let text = |bytes: usize| "x".repeat(bytes);
    let payload = format!(r#"{{"payload":"{}"}}"#, text(1 << 20));
    let details = site.post("/work/add", &payload).await.failed(413, "payload_too_large");
    assert_eq!((&details["field"], &details["bytes_max"]), (&json!("payload"), &json!(1 << 20)));
    let result = format!(r#"{{"work_id":"j","token":1,"result":"{}"}}"#, text(256 << 10));
    site.post("/work/complete", &result).await.failed(413, "payload_too_large");
    let error = format!(r#"{{"work_id":"j","token":1,"error":"{}"}}"#, text((16 << 10) + 1));
    site.post("/work/fail", &error).await.failed(413, "payload_too_large");
}

/// api 1.error.413.body
#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_eight_mebibytes_is_refused_before_it_is_read() {
    let site = Site::start().await;
    let head = format!(
        "POST /work/add HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        (8 << 20) + 1
    );
    let declared = site.raw(head.as_bytes()).await.unwrap();
    assert_eq!(declared.failed(413, "payload_too_large")["field"], "body");
    assert_eq!(declared.headers["connection"], "close");
    let whole = [head.as_bytes(), &vec![b' '; (8 << 20) + 1]].concat();
    let sent =
        site.raw(&whole).await.expect("the refusal is read although the body was on its way");
    sent.failed(413, "payload_too_large");
    let mut chunked =
        b"POST /work/add HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for _ in 0..9 {
        chunked.extend_from_slice(b"100000\r\n");
        chunked.resize(chunked.len() + (1 << 20), b' ');
        chunked.extend_from_slice(b"\r\n");
    }
    site.raw(&chunked).await.unwrap().failed(413, "payload_too_large");
}

/// api 1.error.409.dependency-cycle, 2.add.depends-on.circle
#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_dependencies_is_refused() {
    let site = Site::start().await;
    let itself = site.post("/work/add", r#"{"work_id":"a","depends_on":["a"]}"#).await;
    assert_eq!(itself.failed(409, "dependency_cycle")["work_id"], "a");
    let items = r#"{"work_id":"a","depends_on":["b"]},{"work_id":"b","depends_on":["a"]}"#;
    let circle = site.post("/work/add_batch", &format!(r#"{{"items":[{items}]}}"#)).await;
    assert!(circle.failed(409, "dependency_cycle")["index"].is_u64());
    let unknown = site.post("/work/add", r#"{"depends_on":["no"]}"#).await;
    assert_eq!(unknown.failed(400, "invalid_argument")["field"], "depends_on");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_are_forbidden() {
    let site = Site::start().await;
    let add = async |headers: &[(&str, &str)]| site.send("POST", "/work/add", headers, b"{}").await;
    let rebound = add(&[("Host", "evil.example:8770")]).await;
    assert_eq!(rebound.failed(403, "forbidden")["field"], "Host");
    let foreign = add(&[("Origin", "http://evil.example")]).await;
    assert_eq!(foreign.failed(403, "forbidden")["field"], "Origin");
    assert!(!foreign.headers.contains_key("access-control-allow-origin"));
    assert_eq!(add(&[("Host", "127.0.0.1:1")]).await.status, 201);
    assert_eq!(add(&[("Host", "[::1]:8770")]).await.status, 201);
    let own = add(&[("Host", "localhost:8770"), ("Origin", "http://localhost:8770")]).await;
    assert_eq!(own.status, 201);
    assert_eq!(site.get("/work/status").await.json()["total_items"], 3);
}

/// api 1.error.503.shutting-down
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_says_that_it_is_shutting_down() {
    let site = Site::start().await;
    site.handle.stop().await;
    let refused = site.post("/work/add", "{}").await;
    refused.failed(503, "shutting_down");
    assert_eq!(refused.headers["retry-after"], "1");
    site.get("/ready").await.failed(503, "shutting_down");
    assert_eq!(site.get("/health").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_port_must_be_asked_for() {
    let site = Site::start().await;
    let mut options = HttpOptions::new(([0, 0, 0, 0], 0).into());
    let refused = serve(options.clone(), site.handle.clone(), std::future::pending()).await;
    assert!(matches!(refused, Err(ServeError::Exposed { .. })));
    options.exposure = Exposure::Insecure;
    serve(options, site.handle.clone(), std::future::pending()).await.unwrap();
    let taken = HttpOptions::new(site.address);
    let refused = serve(taken, site.handle.clone(), std::future::pending()).await;
    assert!(matches!(refused, Err(ServeError::Listen { .. })));
}
