//! Clients that send nonsense, too much, too slowly, or too often: the server answers with an error of
//! the table or closes, and goes on.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::{
    arbitrary::any,
    collection::vec,
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use quorate::http::Limits;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{PATIENCE, Site, read_reply};

fn impatient() -> Limits {
    Limits {
        header_timeout: Duration::from_secs(1),
        body_idle_timeout: Duration::from_secs(1),
        write_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(2),
        drain_timeout: Duration::from_secs(1),
        ..Limits::default()
    }
}

/// Reads until the server closes.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    _ = timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the server closes");
    read
}

/// Writes one byte, over and over, until the server has closed.
async fn trickle(stream: &mut TcpStream, byte: u8) {
    let closed = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, closed).await.expect("the server closes");
}

/// api 1.error.nothing-else
#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_get_an_error_of_the_table_or_nothing() {
    let site = Site::with(impatient()).await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..100 {
        let bytes = vec(any::<u8>(), 1..200).new_tree(&mut runner).unwrap().current();
        let ended = [&bytes[..], b"\r\n\r\n"].concat();
        if let Some(reply) = site.raw(&ended).await {
            reply.failed(400, "invalid_json");
        }
    }
    assert_eq!(site.get("/health").await.status, 200);
}

/// api 1.error.nothing-else
#[tokio::test(flavor = "multi_thread")]
async fn random_json_gets_an_error_of_the_table() {
    let site = Site::start().await;
    let mut runner = TestRunner::deterministic();
    let strategy = "[\\[\\]{}\",:0-9a-z\\\\ ]{0,60}";
    for _ in 0..100 {
        let body = strategy.new_tree(&mut runner).unwrap().current();
        let reply = site.post("/work/complete", &body).await;
        assert_eq!(reply.status, 400, "{body}");
        reply.json();
    }
}

/// api 1.error.nothing-else
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_gets_the_contracts_json() {
    let site = Site::start().await;
    for request in ["GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "G\0T / HTTP/1.1\r\n\r\n"] {
        site.raw(request.as_bytes()).await.unwrap().failed(400, "invalid_json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_head_is_too_large_and_says_so() {
    let site = Site::start().await;
    for bytes in [17 << 10, 100 << 10] {
        let request = format!(
            "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Big: {}\r\n\r\n",
            "x".repeat(bytes)
        );
        let reply = site.raw(request.as_bytes()).await.unwrap();
        assert_eq!(reply.failed(413, "payload_too_large")["field"], "header", "{bytes}");
    }
    let many = "X-Many: 1\r\n".repeat(1000);
    let request = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    site.raw(request.as_bytes()).await.unwrap().failed(413, "payload_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_4_gib_is_refused_before_it_comes() {
    let site = Site::start().await;
    let post =
        |header: &str| format!("POST /work/add HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n");
    for bytes in [u64::from(u32::MAX), 1 << 32, 1 << 40] {
        let head = post(&format!("Content-Length: {bytes}"));
        let reply = site.raw(head.as_bytes()).await.unwrap();
        assert_eq!(reply.failed(413, "payload_too_large")["field"], "body", "{bytes}");
    }
    // More than a length can say.
    let head = post("Content-Length: 99999999999999999999");
    site.raw(head.as_bytes()).await.unwrap().failed(400, "invalid_json");
    // A chunk of 4 GiB has no length to refuse: its first bytes beyond the bound are.
    let chunk = [post("Transfer-Encoding: chunked").as_bytes(), b"FFFFFFFF\r\n"].concat();
    let (mut reading, mut writing) = site.connect().await.into_split();
    let sending = async {
        let mut sent = writing.write_all(&chunk).await;
        while sent.is_ok() {
            sent = writing.write_all(&[b' '; 16 << 10]).await;
        }
    };
    let answered = async {
        let mut answer = Vec::new();
        _ = reading.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    let both = async { tokio::join!(sending, answered).1 };
    let answer = timeout(PATIENCE, both).await.expect("the server closes");
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("payload_too_large"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_closed() {
    let site = Site::with(impatient()).await;
    let start = Instant::now();
    assert_eq!(until_closed(&mut site.connect().await).await, b"");
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_in_is_cut_off() {
    let site = Site::with(impatient()).await;
    let mut stream = site.connect().await;
    stream.write_all(b"POST /work/add HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await.unwrap();
    trickle(&mut stream, b'x').await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_in_is_refused_and_cut_off() {
    let site = Site::with(impatient()).await;
    let mut stream = site.connect().await;
    let head = "POST /work/add HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let trickling = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while writing.write_all(b" ").await.is_ok() {
            tick.tick().await;
        }
    };
    let answered = async {
        let mut answer = Vec::new();
        _ = reading.read_to_end(&mut answer).await;
        answer
    };
    let both = async { tokio::join!(trickling, answered).1 };
    let answer = timeout(PATIENCE, both).await.expect("the server closes");
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("HTTP/1.1 400") && text.contains("invalid_json"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_outlives_the_head_timeout_and_not_the_idle_timeout() {
    let site = Site::with(impatient()).await;
    let mut stream = site.connect().await;
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    assert_eq!(read_reply(&mut stream).await.unwrap().status, 200);
    let start = Instant::now();
    assert_eq!(until_closed(&mut stream).await, b"");
    assert!(start.elapsed() >= Duration::from_millis(1900), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_cut_off() {
    let site = Site::with(impatient()).await;
    let payload = format!(r#"{{"work_id":"big","payload":"{}"}}"#, "x".repeat(1_000_000));
    site.done("/work/add", &payload).await;
    let mut stream = site.connect().await;
    let request = b"GET /work/get/big HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Far more answers than the sockets' buffers hold; none is read.
    let asking = async { while stream.write_all(request).await.is_ok() {} };
    timeout(PATIENCE, asking).await.expect("the server closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let site = Site::with(Limits { connections_max: 2, ..Limits::default() }).await;
    let (first, _second) = (site.connect().await, site.connect().await);
    let mut third = site.connect().await;
    third.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let early = timeout(Duration::from_millis(200), third.read_u8()).await;
    assert!(early.is_err(), "no place is free yet");
    drop(first);
    assert_eq!(read_reply(&mut third).await.unwrap().status, 200);
}

/// api 1.http.versions
#[tokio::test(flavor = "multi_thread")]
async fn http2_is_spoken_on_the_same_port() {
    let site = Site::start().await;
    let stream = TokioIo::new(site.connect().await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    for (path, status) in [("/work/add", 201), ("/nowhere", 404)] {
        let request = hyper::Request::post(format!("http://localhost:8770{path}"));
        let request = request.body(Full::new(bytes::Bytes::from_static(b"{}"))).unwrap();
        let reply = sender.send_request(request).await.unwrap();
        assert_eq!(reply.status(), status);
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_client_that_keeps_its_window_shut_is_cut_off() {
    let site = Site::with(Limits { idle_timeout: 10 * PATIENCE, ..impatient() }).await;
    let stream = TokioIo::new(site.connect().await);
    let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(16)
        .handshake(stream);
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("http://localhost:8770/health");
    let request = request.body(Full::new(bytes::Bytes::new())).unwrap();
    let unread = sender.send_request(request).await.unwrap();
    // The connection itself is well, and answers pings: nothing but the answer waits.
    _ = timeout(PATIENCE, connection).await.expect("the server closes");
    drop(unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_answers_what_it_has_and_frees_the_port() {
    let mut site = Site::with(impatient()).await;
    let mut idle = site.connect().await;
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    read_reply(&mut idle).await.unwrap();
    let mut polling = site.connect().await;
    let body = r#"{"node_id":"w","wait_ms":100}"#;
    let head = format!(
        "POST /work/claim HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    polling.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    site.stop_serving().await;
    assert_eq!(until_closed(&mut idle).await, b"");
    let answered = String::from_utf8(until_closed(&mut polling).await).unwrap();
    assert!(answered.is_empty() || answered.contains("no_work_available"), "{answered}");
    assert!(TcpStream::connect(site.address).await.is_err());
}
