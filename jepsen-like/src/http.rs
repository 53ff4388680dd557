//! A kept-alive HTTP/1.1 connection, and what can become of a call on it.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

/// An address that takes no connection within this is not reachable.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// One connection. After a call that got no answer it is of no use.
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NoAnswer {
    /// No connection came about.
    NotConnected,
    /// The connection ended first.
    Lost,
    /// The deadline did.
    TimedOut,
}

impl Connection {
    /// Must be called on a tokio runtime, whose task the connection then is.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, NoAnswer> {
        let connecting = timeout(CONNECT_LIMIT, TcpStream::connect(address)).await;
        let Ok(Ok(stream)) = connecting else { return Err(NoAnswer::NotConnected) };
        drop(stream.set_nodelay(true));
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|_| NoAnswer::NotConnected)?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    /// One request and its answer.
    pub(crate) async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer, NoAnswer> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("paths are ours");
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            Ok(Answer { status, body })
        };
        match timeout(limit, exchange).await {
            Ok(answer) => answer.map_err(|_: hyper::Error| NoAnswer::Lost),
            Err(_) => Err(NoAnswer::TimedOut),
        }
    }
}

impl Answer {
    /// The body, `null` when it is not JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Whether the call did what it was to do.
    pub(crate) const fn is_ok(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}

/// What a failed call is counted under: `503 no_leader`, `timed out`; `None` when it did not fail.
pub(crate) fn failure_of(result: &Result<Answer, NoAnswer>) -> Option<String> {
    match result {
        Ok(answer) if answer.is_ok() => None,
        Ok(answer) => {
            let body = answer.json();
            let code = body["code"].as_str().unwrap_or("without a code");
            Some(format!("{} {code}", answer.status))
        }
        Err(NoAnswer::NotConnected) => Some("not connected".to_owned()),
        Err(NoAnswer::Lost) => Some("connection lost".to_owned()),
        Err(NoAnswer::TimedOut) => Some("timed out".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
    };

    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer { status, body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn every_answer_but_success_is_a_failure_by_name() {
        assert_eq!(failure_of(&Ok(answer(201, "{}"))), None);
        let refused = Ok(answer(503, r#"{"code":"no_leader"}"#));
        assert_eq!(failure_of(&refused).as_deref(), Some("503 no_leader"));
        assert_eq!(failure_of(&Ok(answer(500, "oh"))).as_deref(), Some("500 without a code"));
        assert_eq!(failure_of(&Err(NoAnswer::TimedOut)).as_deref(), Some("timed out"));
    }

    /// Serves one connection: answers as many requests as there are answers, then closes it.
    fn serve(answers: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in answers {
                let mut request = [0; 4096];
                assert_ne!(stream.read(&mut request).unwrap(), 0);
                stream.write_all(answer.as_bytes()).unwrap();
            }
            if answers.is_empty() {
                // Reads and never answers, until the client gives up.
                drop(stream.read_to_end(&mut vec![]));
            }
        });
        address
    }

    fn calls(address: SocketAddr, count: usize, limit: Duration) -> Vec<Result<Answer, NoAnswer>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = Connection::open(address).await.unwrap();
            let mut results = vec![];
            for _ in 0..count {
                results.push(connection.call(Method::GET, "/", Bytes::new(), limit).await);
            }
            results
        })
    }

    #[test]
    fn a_connection_is_kept_for_the_next_call_and_its_end_is_a_lost_answer() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let results = calls(serve(Box::leak(Box::new([ok, ok]))), 3, Duration::from_secs(20));
        assert_eq!(results, [Ok(answer(200, "{}")), Ok(answer(200, "{}")), Err(NoAnswer::Lost)]);
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let results = calls(serve(&[]), 1, Duration::from_millis(50));
        assert_eq!(results, [Err(NoAnswer::TimedOut)]);
    }

    #[test]
    fn nobody_listening_is_not_connected() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let opened = runtime.block_on(Connection::open(address));
        assert_eq!(opened.err(), Some(NoAnswer::NotConnected));
    }
}
