//! The client against small servers that answer, refuse, hang or drop the connection on purpose.

use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, Uri, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{
    client::ListRequest,
    queue::{QueueName, WorkType, WorkerId},
    wire::{ApiError, Code},
};

/// Nothing listens there: port 1 is privileged and unassigned on any machine that runs tests.
const NOBODY: &str = "http://127.0.0.1:1";

/// How a server of a test treats one request.
#[derive(Clone)]
enum Reply {
    Json(Value),
    Refuse(Box<ApiError>),
    Text(u16, &'static str),
    Hang,
    Drop,
}

fn refuse(code: Code) -> Reply {
    Reply::Refuse(Box::new(ApiError::new(code, "No.")))
}

/// A server that replies by script, the last reply for ever, and remembers what it was asked.
struct Server {
    address: Uri,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Server {
    async fn start(script: Vec<Reply>) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    fn start_on(listener: TcpListener, script: Vec<Reply>) -> Self {
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let asked = Arc::new(Mutex::new(vec![]));
        let seen = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, script) = (seen.clone(), script.clone());
                let service =
                    service_fn(move |request| reply(request, seen.clone(), script.clone()));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

async fn reply(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    script: Vec<Reply>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let path = request.uri().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let place = {
        let mut seen = seen.lock().unwrap();
        seen.push((path, serde_json::from_slice(&body).unwrap_or_default()));
        seen.len() - 1
    };
    let (status, body) = match script[place.min(script.len() - 1)].clone() {
        Reply::Json(answer) => (200, answer.to_string()),
        Reply::Refuse(error) => (error.code.http_status(), serde_json::to_string(&error).unwrap()),
        Reply::Text(status, text) => (status, text.to_owned()),
        Reply::Hang => std::future::pending().await,
        Reply::Drop => return Err(std::io::Error::other("dropped on purpose")),
    };
    let body = Full::new(Bytes::from(body));
    Ok(Response::builder().status(status).body(body).unwrap())
}

fn client_of(addresses: &[&Uri], timeout_ms: u64) -> Client {
    Client::new(Options {
        addresses: addresses.iter().copied().cloned().collect(),
        timeout: Duration::from_millis(timeout_ms),
        patience: Duration::ZERO,
    })
}

fn added() -> Reply {
    Reply::Json(
        json!({"status": "added", "work_id": "a", "queue": "default", "work_type": "default",
        "priority": 50, "state": "pending", "duplicate": false, "rev": 7, "of a newer server": 1}),
    )
}

fn granted() -> Reply {
    Reply::Json(json!({"status": "claimed", "rev": 7, "work": {"work_id": "a", "queue": "default",
        "work_type": "default", "payload": 1, "priority": 50, "attempt": 1, "max_attempts": 3,
        "token": 7, "lease_ms": 30000, "lease_expires_in_ms": 30000, "added_at_ms": 1, "tags": {}}}))
}

fn settled() -> Reply {
    Reply::Json(json!({"status": "cancelled", "work_id": "a", "rev": 7}))
}

fn a_claim(wait_ms: u64) -> ClaimRequest {
    let wait_ms = Some(wait_ms);
    ClaimRequest { wait_ms, ..ClaimRequest::new(WorkerId::parse("w").unwrap()) }
}

#[tokio::test]
async fn a_call_goes_to_the_next_address_and_stays_there() {
    let alive = Server::start(vec![added()]).await;
    let client = client_of(&[&NOBODY.parse().unwrap(), &alive.address], 5000);
    let answer = client.add(AddRequest::default()).await.unwrap();
    assert_eq!((answer.value.work_id.as_str(), answer.value.rev.0), ("a", 7));
    assert!(String::from_utf8_lossy(&answer.body).contains("of a newer server"));
    client.add(AddRequest::default()).await.unwrap();
    assert_eq!(alive.asked().len(), 2);
}

#[tokio::test]
async fn a_server_that_says_not_now_costs_one_step() {
    for code in [Code::NoLeader, Code::ShuttingDown, Code::OutcomeUnknown] {
        let (busy, alive) =
            (Server::start(vec![refuse(code)]).await, Server::start(vec![settled()]).await);
        let client = client_of(&[&busy.address, &alive.address], 5000);
        client.cancel(JobId::parse("a").unwrap()).await.unwrap();
        assert_eq!((busy.asked().len(), alive.asked().len()), (1, 1), "{code}");
    }
}

#[tokio::test]
async fn a_repeated_add_keeps_the_identity_of_the_first() {
    let server = Server::start(vec![Reply::Drop, refuse(Code::NoLeader), added()]).await;
    let client = client_of(&[&server.address], 5000);
    client.add(AddRequest::default()).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].1["work_id"].as_str().unwrap().len(), 26);
    assert!(asked.iter().all(|request| *request == asked[0]), "{asked:?}");
}

#[tokio::test]
async fn a_repeated_claim_keeps_its_request_id_and_waits_only_what_is_left() {
    let none = json!({"status": "no_work_available", "work": null, "rev": 1});
    let server = Server::start(vec![refuse(Code::NoLeader), Reply::Json(none)]).await;
    let client = client_of(&[&server.address], 5000);
    let answer = client.claim(a_claim(300)).await.unwrap();
    assert!(answer.value.work.is_none());
    let asked = server.asked();
    assert_eq!(asked[0].1["wait_ms"], 300);
    assert!(asked[1].1["wait_ms"].as_u64().unwrap() < 300, "{asked:?}");
    assert_eq!(asked[0].1["request_id"], asked[1].1["request_id"]);
}

#[tokio::test]
async fn items_of_a_batch_get_ids_of_their_own() {
    let answer = json!({"status": "added", "count": 0, "work_ids": [], "items": [], "rev": 1});
    let server = Server::start(vec![Reply::Json(answer)]).await;
    let named =
        AddRequest { work_id: Some(JobId::parse("mine").unwrap()), ..AddRequest::default() };
    let items = vec![AddRequest::default(), named, AddRequest::default()];
    let batch = AddBatchRequest { items, atomic: true, request_id: None };
    client_of(&[&server.address], 5000).add_batch(batch).await.unwrap();
    let ids: Vec<String> = server.asked()[0].1["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["work_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids[1], "mine");
    assert!(ids[0].len() == 26 && ids[2].len() == 26 && ids[0] != ids[2]);
}

#[tokio::test]
async fn a_refusal_for_good_is_not_repeated() {
    let server = Server::start(vec![refuse(Code::StaleToken)]).await;
    let client = client_of(&[&server.address], 5000);
    let error = client.start(JobId::parse("a").unwrap(), Token(1)).await.unwrap_err();
    assert!(matches!(error, ClientError::Api(error) if error.code == Code::StaleToken));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn nobody_there_is_certainly_not_carried_out() {
    let client = client_of(&[&NOBODY.parse().unwrap()], 5000);
    let error = client.add(AddRequest::default()).await.unwrap_err();
    let ClientError::Unreachable { addresses, reason } = error else { panic!("{error:?}") };
    assert_eq!(addresses, "http://127.0.0.1:1/");
    assert!(reason.to_lowercase().contains("refused"), "{reason}");
}

#[tokio::test]
async fn a_server_that_hangs_ends_at_the_deadline_and_leaves_the_outcome_unknown() {
    let server = Server::start(vec![Reply::Hang]).await;
    let client = client_of(&[&server.address], 100);
    let before = Instant::now();
    let error = client.add(AddRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unknown { .. }), "{error:?}");
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
}

// Situation: a call is given less time than any server may take, and ends. Claim: that is not the server's
// fault: the next call goes there too, and not to the other one.
#[tokio::test]
async fn a_server_is_not_blamed_for_a_call_whose_own_time_was_short() {
    let slow = Server::start(vec![Reply::Hang]).await;
    let other = Server::start(vec![added()]).await;
    let client = client_of(&[&slow.address, &other.address], 150);
    for calls in 1..=3 {
        let error = client.add(AddRequest::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::Unknown { .. }), "{error:?}");
        assert!(slow.asked().len() <= calls && other.asked().is_empty());
    }
}

/// A port that takes connections, as the kernel does for a process that hangs, and answers nothing.
async fn hung() -> (TcpListener, Uri) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    (listener, address)
}

// Situation: a node that is about to stop answers a long poll early. Claim: the poll goes on with what is left of
// its wait, under its identity.
#[tokio::test]
async fn a_poll_that_is_answered_early_goes_on() {
    let none = json!({"status": "no_work_available", "work": null, "rev": 1});
    let server = Server::start(vec![Reply::Json(none), granted()]).await;
    let answer = client_of(&[&server.address], 5000).claim(a_claim(60_000)).await.unwrap();
    assert!(answer.value.work.is_some());
    let asked = server.asked();
    assert_eq!((asked.len(), &asked[0].1["request_id"]), (2, &asked[1].1["request_id"]));
    assert!(asked[1].1["wait_ms"].as_u64().unwrap() < 60_000, "{asked:?}");
}

// Situation: the only server answers a long poll early, says goodbye and stops; nobody listens until it is
// back. Claim: the poll goes on there, with what is left of its wait, although it has no patience with nobody.
#[tokio::test]
async fn a_poll_outlives_the_restart_of_its_only_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap();
    let address: Uri = format!("http://{port}").parse().unwrap();
    let client = client_of(&[&address], 60_000);
    let polling = tokio::spawn(async move { client.claim(a_claim(60_000)).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0, "a request");
    drop(listener);
    let none = json!({"status": "no_work_available", "work": null, "rev": 1}).to_string();
    let head = format!("content-length: {}\r\nconnection: close", none.len());
    let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{none}");
    stream.write_all(answer.as_bytes()).await.unwrap();
    drop(stream);
    // A call of its own finds nobody and gives up; the poll has been refused as well by the time it is back.
    for _ in 0..20 {
        tokio::task::yield_now().await;
        let refused = client_of(&[&address], 60_000).add(AddRequest::default()).await;
        assert!(matches!(refused, Err(ClientError::Unreachable { .. })), "{refused:?}");
        tokio::time::sleep(POLL_PAUSE).await;
    }
    assert!(!polling.is_finished(), "it goes on");
    let again = Server::start_on(TcpListener::bind(port).await.unwrap(), vec![granted()]);
    let ended = tokio::time::timeout(Duration::from_secs(30), polling).await.expect("in time");
    assert!(ended.unwrap().unwrap().value.work.is_some());
    assert_eq!(again.asked().len(), 1);
}

/// How many connections were made since this was last asked.
async fn connections(listener: &TcpListener) -> usize {
    let mut count = 0;
    while tokio::time::timeout(Duration::ZERO, listener.accept()).await.is_ok() {
        count += 1;
    }
    count
}

// Situation: the first of two servers hangs, with a long poll or a write under way. Claim: each goes to the other
// long before its own time is up, with its identity, and the calls after it start there.
#[tokio::test]
async fn a_server_that_hangs_is_left_for_another_and_not_asked_again() {
    for is_poll in [true, false] {
        let (listener, hung) = hung().await;
        let answer = if is_poll { granted() } else { added() };
        let alive = Server::start(vec![answer]).await;
        let client = client_of(&[&hung, &alive.address], 600_000);
        let call = async || {
            if is_poll {
                client.claim(a_claim(60_000)).await.map(drop)
            } else {
                client.add(AddRequest::default()).await.map(drop)
            }
        };
        tokio::time::timeout(Duration::from_secs(30), call()).await.expect("it is left").unwrap();
        assert!(connections(&listener).await > 0);
        for _ in 0..20 {
            call().await.unwrap();
        }
        assert_eq!((alive.asked().len(), connections(&listener).await), (21, 0));
    }
}

// Situation: the first of two servers takes its time over a poll and is there when it is asked. Claim: it is
// not left.
#[tokio::test]
async fn a_server_with_a_long_poll_is_asked_whether_it_is_there_and_kept() {
    let polled = Server::start(vec![Reply::Hang, Reply::Json(json!({"status": "ok"}))]).await;
    let other = Server::start(vec![settled()]).await;
    let client = client_of(&[&polled.address, &other.address], 600_000);
    let polling = tokio::spawn(async move { client.claim(a_claim(60_000)).await });
    let is_asked = async {
        while polled.asked().len() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_asked).await.unwrap();
    assert!(polled.asked()[1..].iter().all(|(path, _)| path == "/health"), "{:?}", polled.asked());
    assert!(!polling.is_finished() && other.asked().is_empty());
    polling.abort();
}

/// A lost answer makes the whole call unknown, although the last server said "certainly not".
#[tokio::test]
async fn a_lost_answer_is_not_forgotten_for_a_later_refusal() {
    let server = Server::start(vec![Reply::Drop, refuse(Code::NoLeader)]).await;
    let client = client_of(&[&server.address], 200);
    let error = client.add(AddRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unknown { .. }), "{error:?}");
    let server = Server::start(vec![refuse(Code::NoLeader)]).await;
    let error = client_of(&[&server.address], 200).add(AddRequest::default()).await;
    assert!(matches!(error, Err(ClientError::Api(error)) if error.code == Code::NoLeader));
}

#[tokio::test]
async fn what_is_no_answer_is_called_so() {
    for reply in [Reply::Text(502, "<html>"), Reply::Text(200, "hello")] {
        let server = Server::start(vec![reply]).await;
        let client = client_of(&[&server.address], 5000);
        let error = client.work_status().await.unwrap_err();
        assert!(matches!(error, ClientError::BadAnswer { .. }), "{error:?}");
        assert_eq!(server.asked().len(), 1);
    }
}

/// A code may be added to the contract at any time: a client of today must not take it for nonsense.
#[tokio::test]
async fn a_newer_servers_code_is_read_by_its_status() {
    let newer = r#"{"error": "Draining.", "code": "draining", "retryable": true, "applied": "no"}"#;
    let server = Server::start(vec![Reply::Text(503, newer), settled()]).await;
    let client = client_of(&[&server.address], 5000);
    client.cancel(JobId::parse("a").unwrap()).await.unwrap();
    let newer = r#"{"error": "Held.", "code": "on_hold", "retryable": false, "applied": "no"}"#;
    let server = Server::start(vec![Reply::Text(409, newer)]).await;
    let error = client_of(&[&server.address], 5000).cancel(JobId::parse("a").unwrap()).await;
    let Err(ClientError::Api(error)) = error else { panic!("{error:?}") };
    assert_eq!((error.code, error.error.as_str()), (Code::WrongState, "Held."));
    assert_eq!(error.details["code"], "on_hold");
}

#[tokio::test]
async fn a_question_about_the_present_is_asked_once() {
    let server = Server::start(vec![refuse(Code::NotReady)]).await;
    let client = client_of(&[&server.address], 5000);
    let error = client.ready().await.unwrap_err();
    assert!(matches!(error, ClientError::Api(error) if error.code == Code::NotReady));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn get_waits_in_the_query() {
    let job = json!({"work_id": "a", "queue": "q", "work_type": "t", "state": "completed", "priority": 1,
        "attempt": 1, "max_attempts": 3, "attempts": [], "added_at_ms": 1, "rev": 3});
    let server = Server::start(vec![Reply::Json(job)]).await;
    let client = client_of(&[&server.address], 5000);
    let job = client.get(&JobId::parse("a").unwrap(), Duration::from_secs(90)).await.unwrap();
    assert_eq!(job.value.job.work_type, WorkType::parse("t").ok());
    assert_eq!(server.asked()[0].0, "/work/get/a?wait_ms=60000", "at most one long poll's wait");
}

// Situation: the first answer is lost, the second server says "not now". Claim: all three requests of a call
// are the same one, and the next call is another.
#[tokio::test]
async fn a_repeated_operation_keeps_its_request_id() {
    let done = |status: &str| json!({"status": status, "queue": "q", "node_id": "w", "rev": 7});
    let (queue, worker) = (QueueName::parse("q").unwrap(), WorkerId::parse("w").unwrap());
    let mut ids = vec![];
    for operation in ["pause", "resume", "purge", "delete", "drain", "undrain"] {
        let answer = Reply::Json(done("resumed"));
        let server = Server::start(vec![Reply::Drop, refuse(Code::NoLeader), answer]).await;
        let client = client_of(&[&server.address], 5000);
        let ended = match operation {
            "pause" => client.pause_queue(&queue).await.map(drop),
            "resume" => client.resume_queue(&queue).await.map(drop),
            "purge" => client.purge_queue(&queue).await.map(drop),
            "delete" => client.delete_queue(&queue).await.map(drop),
            "drain" => client.drain_worker(&worker).await.map(drop),
            _ => client.resume_worker(&worker).await.map(drop),
        };
        ended.unwrap();
        let asked = server.asked();
        assert!(asked.len() == 3 && asked.iter().all(|request| *request == asked[0]), "{asked:?}");
        ids.push(asked[0].1["request_id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn a_list_goes_on_where_the_servers_page_ended() {
    let page = json!({"items": [], "next": "of the server's", "rev": 1});
    let server = Server::start(vec![Reply::Json(page)]).await;
    let client = client_of(&[&server.address], 5000);
    let wanted = ListRequest { limit: 3, ..ListRequest::default() };
    let first = client.list(&wanted).await.unwrap();
    client.list(&ListRequest { after: first.value.next, ..wanted }).await.unwrap();
    let paths: Vec<String> = server.asked().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/work/list?limit=3", "/work/list?limit=3&after=of%20the%20server%27s"]);
}
