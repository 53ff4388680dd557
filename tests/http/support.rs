//! Nodes, their servers, and a client that says exactly what it is told to say.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use membership::Profile;
use quorate::{
    http::{HttpOptions, Limits, Operator, Server, serve},
    node::{
        self, Archive, Clock, Consistency, FileSystem, GossipOptions, Handle, MachineClock,
        NoArchive, Node, NodeOptions, RaftRuntime, Space,
    },
};
use raft::{Bootstrap, Disk, OsNet, Timing, disk::OsDisk};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};

/// Nothing here takes as long on a machine that is not stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How a node is to be.
pub(crate) struct Setup {
    pub(crate) http: Limits,
    pub(crate) node: node::Limits,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) space: Arc<dyn Space>,
    pub(crate) disk_reserve_bytes: u64,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) bootstrap: Bootstrap,
    pub(crate) timing: Timing,
    pub(crate) label: String,
    /// Where it listens for other nodes.
    pub(crate) peer: SocketAddr,
    /// Whether it gossips; the members that it is told to join.
    pub(crate) gossip: Option<Vec<String>>,
    /// Whom orders to the process go to.
    pub(crate) operator: Option<Arc<dyn Operator>>,
}

impl Default for Setup {
    /// One voter by itself.
    fn default() -> Self {
        Self {
            http: Limits::default(),
            node: node::Limits::default(),
            disk: Arc::new(OsDisk),
            space: Arc::new(FileSystem),
            disk_reserve_bytes: 0,
            archive: Arc::new(NoArchive),
            clock: Arc::new(MachineClock::start()),
            bootstrap: Bootstrap::Alone,
            timing: Timing { heartbeat_ms: 50, election_min_ms: 150, election_max_ms: 300 },
            label: "n1".to_owned(),
            peer: (Ipv4Addr::LOCALHOST, 0).into(),
            gossip: None,
            operator: None,
        }
    }
}

impl Setup {
    /// Three voters of one cluster. Their timers are long: a busy machine is no reason for an election.
    pub(crate) fn three() -> Vec<Self> {
        // All at once, so that the three differ.
        let ports = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let peers = ports.map(|port| port.local_addr().unwrap());
        let seeds: Vec<_> = peers.iter().map(ToString::to_string).collect();
        let bootstrap = Bootstrap::Expect { voters: 3, seeds, only: None };
        let setup = |(number, peer)| Self {
            timing: Timing { heartbeat_ms: 200, election_min_ms: 1000, election_max_ms: 2000 },
            bootstrap: bootstrap.clone(),
            label: format!("n{}", number + 1),
            peer,
            ..Self::default()
        };
        peers.into_iter().enumerate().map(setup).collect()
    }

    /// Starts it, ready or not.
    pub(crate) async fn start(self) -> Site {
        let directory = tempfile::tempdir().unwrap();
        let mut options = HttpOptions::new(([127, 0, 0, 1], 0).into());
        options.limits = self.http.clone();
        options.operator.clone_from(&self.operator);
        let handle = self.open(&directory).await;
        let (stop, stopped) = oneshot::channel();
        let server = serve(options, handle.clone(), async { _ = stopped.await }).await.unwrap();
        let address = server.local_addr();
        Site { address, handle, stop: Some(stop), server: Some(server), _directory: directory }
    }

    async fn open(self, directory: &TempDir) -> Handle {
        let raft = raft::Options {
            cluster: "test".to_owned(),
            label: self.label,
            data_dir: directory.path().join("node"),
            listen: self.peer,
            advertise: self.peer.to_string(),
            bootstrap: self.bootstrap,
            timing: self.timing,
            lifeline: Some(raft::Lifeline::lan()),
            segment_bytes: 1 << 20,
            snapshot_log_bytes: 64 << 20,
            kept_entries: 1000,
        };
        // Each replica's id is drawn from its seed.
        let seed = u64::from(self.peer.port());
        let environment = node::Environment {
            raft: raft::Environment { disk: self.disk, net: Arc::new(OsNet), seed },
            clock: self.clock,
            space: self.space,
            archive: self.archive,
        };
        let disk_reserve_bytes = self.disk_reserve_bytes;
        let gossip = self.gossip.map(|seeds| GossipOptions {
            // Patient: a machine that is busy makes nobody look dead.
            profile: Profile::Wan,
            keyring: None,
            seeds,
            http_address: "127.0.0.1:8770".to_owned(),
            labels: [("rack".to_owned(), "a".to_owned())].into(),
        });
        let options = NodeOptions { raft, limits: self.node, disk_reserve_bytes, gossip };
        Box::pin(Node::open(options, environment, RaftRuntime::Current)).await.unwrap()
    }
}

/// A node, served on a free port.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    server: Option<Server>,
    _directory: TempDir,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let site = Setup { http: limits, ..Setup::default() }.start().await;
        site.until_ready().await;
        site
    }

    pub(crate) async fn until_ready(&self) {
        let ready = async {
            // A read is held until somebody leads: nothing is asked over and over until then.
            _ = self.handle.read(Consistency::Linearizable, PATIENCE, |_| ()).await;
            while self.get("/ready").await.status != 200 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, ready).await.expect("the node gets ready");
    }

    /// Sends a POST and reads its answer.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Reply {
        self.send("POST", path, &[], body.as_bytes()).await
    }

    /// Sends a POST that must succeed, and returns its JSON.
    pub(crate) async fn done(&self, path: &str, body: &str) -> Value {
        let reply = self.post(path, body).await;
        assert!(reply.status < 300, "{path} {body}: {reply:?}");
        reply.json()
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Reply {
        self.send("PUT", path, &[], body.as_bytes()).await
    }

    /// Sends a POST that must succeed, and returns its JSON.
    pub(crate) async fn call(&self, path: &str, body: Value) -> Value {
        self.done(path, &body.to_string()).await
    }

    /// Adds a job; returns the answer.
    pub(crate) async fn add(&self, job: Value) -> Value {
        self.call("/work/add", job).await
    }

    /// Claims any job for `w1`; `Null` when there is none.
    pub(crate) async fn claim(&self) -> Value {
        self.call("/work/claim", json!({"node_id": "w1"})).await["work"].clone()
    }

    /// Claims whatever comes within a while, for `w1`.
    pub(crate) async fn claim_soon(&self) -> Value {
        self.call("/work/claim", json!({"node_id": "w1", "wait_ms": "20s"})).await["work"].clone()
    }

    /// A call of the holder of this grant.
    pub(crate) async fn settle(&self, verb: &str, work: &Value, extra: Value) -> Value {
        let mut body = json!({"work_id": work["work_id"], "token": work["token"]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.call(&format!("/work/{verb}"), body).await
    }

    /// Adds a job and ends it in this way.
    pub(crate) async fn end(&self, work_id: &str, state: &str) {
        let expires = if state == "expired" { json!(50) } else { Value::Null };
        self.add(json!({"work_id": work_id, "queue": "ending", "expires_in_ms": expires})).await;
        let claim = async || {
            let body = json!({"node_id": "w1", "queues": ["ending"]});
            self.call("/work/claim", body).await["work"].clone()
        };
        match state {
            "completed" => drop(self.settle("complete", &claim().await, json!({})).await),
            "failed" => {
                let why = json!({"retry": false, "error": "boom"});
                self.settle("fail", &claim().await, why).await;
            }
            "cancelled" => drop(self.call("/work/cancel", json!({"work_id": work_id})).await),
            _ => {}
        }
        assert_eq!(self.ended(work_id).await["state"], state);
    }

    /// The whole job, now.
    pub(crate) async fn job(&self, work_id: &str) -> Value {
        let reply = self.get(&format!("/work/get/{work_id}")).await;
        assert_eq!(reply.status, 200, "{work_id}: {reply:?}");
        reply.json()
    }

    /// The whole job, once one of its fields has this value.
    pub(crate) async fn job_when(&self, work_id: &str, field: &str, value: Value) -> Value {
        let polled = async {
            loop {
                let job = self.job(work_id).await;
                if job[field] == value {
                    return job;
                }
            }
        };
        let in_time = timeout(PATIENCE, polled).await;
        in_time.unwrap_or_else(|_| panic!("{work_id} does not get to {field} {value}"))
    }

    /// The whole job, once it has ended.
    pub(crate) async fn ended(&self, work_id: &str) -> Value {
        let job = self.get(&format!("/work/get/{work_id}?wait_ms=30s")).await.json();
        assert!(job["ended_at_ms"].is_u64(), "{job}");
        job
    }

    /// Sends a POST that must be refused because of this field.
    pub(crate) async fn refuses(&self, path: &str, body: Value, field: &str) {
        let details = self.post(path, &body.to_string()).await.failed(400, "invalid_argument");
        assert_eq!(details["field"], field, "{path} {body}");
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"").await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut lines = vec![format!("{method} {path} HTTP/1.1"), "Connection: close".to_owned()];
        if !headers.iter().any(|(name, _)| *name == "Host") {
            lines.push("Host: localhost".to_owned());
        }
        lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
        if method != "GET" {
            lines.push(format!("Content-Length: {}", body.len()));
        }
        let request = [lines.join("\r\n").as_bytes(), b"\r\n\r\n", body].concat();
        self.raw(&request).await.expect("an answer")
    }

    /// Sends these bytes and reads one answer; `None` when the server closes without one.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Option<Reply> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may refuse and close before everything is written.
        _ = stream.write_all(bytes).await;
        read_reply(&mut stream).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Ends the server's `shutdown`.
    pub(crate) fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Ends the server's `shutdown` and waits until it has stopped.
    pub(crate) async fn stop_serving(&mut self) {
        self.begin_to_stop();
        let server = self.server.take().unwrap();
        timeout(PATIENCE, server.stopped()).await.expect("it stops");
    }

    /// The state of a job, now.
    pub(crate) async fn state_of(&self, work_id: &str) -> Value {
        self.get(&format!("/work/get/{work_id}")).await.json()["state"].clone()
    }
}

/// Starts three voters and waits until they are one cluster.
pub(crate) async fn cluster(setups: Vec<Setup>) -> Vec<Site> {
    let mut sites = Vec::new();
    for setup in setups {
        sites.push(setup.start().await);
    }
    for site in &sites {
        site.until_ready().await;
    }
    sites
}

/// Starts a long poll of this worker on a queue.
pub(crate) async fn poll(site: &Site, worker: &str, queue: &str) -> TcpStream {
    let body = format!(r#"{{"node_id":"{worker}","queues":["{queue}"],"wait_ms":30000}}"#);
    let head = format!(
        "POST /work/claim HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = site.connect().await;
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream
}

/// An answer, as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|fault| panic!("{fault}: {self:?}"))
    }

    /// Checks that this is the contract's error of that row, and returns its details.
    pub(crate) fn failed(&self, status: u16, code: &str) -> Value {
        let json = self.json();
        assert_eq!((self.status, json["code"].as_str()), (status, Some(code)), "{json}");
        assert!(json["error"].as_str().is_some_and(|error| error.len() > 10), "{json}");
        assert!(json["retryable"].is_boolean() && json["applied"].is_string(), "{json}");
        assert_eq!(self.headers["content-type"], "application/json");
        json["details"].clone()
    }
}

/// Reads one answer; `None` when the connection ends before its head is whole.
pub(crate) async fn read_reply(stream: &mut TcpStream) -> Option<Reply> {
    let read = async {
        let mut bytes = Vec::new();
        let head_length = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(bytes[..head_length].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers["content-length"].parse().unwrap();
        let mut body = bytes[head_length..].to_vec();
        while body.len() < length {
            assert_ne!(stream.read_buf(&mut body).await.unwrap(), 0, "a whole body");
        }
        Some(Reply { status, headers, body })
    };
    timeout(PATIENCE, read).await.expect("an answer or an end in time")
}

/// The ids of a list of jobs.
pub(crate) fn ids(items: &Value) -> Vec<&str> {
    items.as_array().unwrap().iter().map(|job| job["work_id"].as_str().unwrap()).collect()
}
