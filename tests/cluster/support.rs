//! Real processes, and a small blocking HTTP client that shares no code with the server.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, AtomicU16, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Voters of one cluster, each a process of its own. Dropping it kills them by pid.
pub(crate) struct Cluster {
    pub(crate) voters: Vec<Voter>,
    pub(crate) directory: tempfile::TempDir,
    binary: PathBuf,
    environment: Vec<(String, String)>,
    flags: Vec<String>,
    /// The nodes from this number on found no cluster: they wait to be taken in.
    pub(crate) waiting_from: usize,
}

/// One voter: where it listens, and its process while it runs.
pub(crate) struct Voter {
    pub(crate) label: String,
    pub(crate) http: String,
    pub(crate) peer: String,
    /// The addresses that it is told to join.
    join: Vec<String>,
    child: Option<Child>,
}

impl Cluster {
    /// Three voters of the built `queue`, started and ready.
    pub(crate) fn of_three() -> Self {
        let mut cluster = Self::stopped(Path::new(env!("CARGO_BIN_EXE_queue")), &[], &[]);
        cluster.start_all();
        cluster
    }

    /// Three voters that have not been started, of any binary that takes `queue serve`'s flags.
    pub(crate) fn stopped(binary: &Path, environment: &[(&str, String)], flags: &[&str]) -> Self {
        Self::fresh(binary, environment, flags, &[&[0_usize, 1, 2][..]; 3])
    }

    /// Nodes that have not been started, and of which three are to be voters. Each is told to join the
    /// nodes of its numbers.
    pub(crate) fn fresh(
        binary: &Path,
        environment: &[(&str, String)],
        flags: &[&str],
        joins: &[&[usize]],
    ) -> Self {
        let mut voters: Vec<Voter> = (1..=joins.len())
            .map(|number| Voter {
                label: format!("n{number}"),
                http: format!("127.0.0.1:{}", free_port()),
                peer: format!("127.0.0.1:{}", free_port()),
                join: vec![],
                child: None,
            })
            .collect();
        for (number, join) in joins.iter().enumerate() {
            voters[number].join = join.iter().map(|to| voters[*to].peer.clone()).collect();
        }
        Self {
            voters,
            directory: tempfile::tempdir().expect("a temporary directory"),
            binary: binary.to_owned(),
            environment: environment
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            waiting_from: usize::MAX,
        }
    }

    pub(crate) fn start_all(&mut self) {
        for index in 0..self.voters.len() {
            self.start(index);
        }
        for index in 0..self.voters.len() {
            self.wait_ready(index);
        }
    }

    /// Starts one voter; its log is appended to `nX.log` in the cluster's directory.
    pub(crate) fn start(&mut self, index: usize) {
        let child = self.command(index).spawn().expect("the voter starts");
        self.voters[index].child = Some(child);
    }

    /// The `serve` command of one voter, not yet started.
    pub(crate) fn command(&self, index: usize) -> Command {
        let voter = &self.voters[index];
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join(format!("{}.log", voter.label)))
            .expect("a log file");
        let expected = if index < self.waiting_from { "3" } else { "0" };
        let mut command = Command::new(&self.binary);
        command
            .args(["serve", "--node-id", &voter.label])
            .arg("--data-dir")
            .arg(self.data_dir(index))
            .args(["--listen", &voter.http, "--peer-listen", &voter.peer])
            .args(["--bootstrap-expect", expected, "--join", &voter.join.join(",")])
            .args(&self.flags)
            .env_remove("QUEUE_ADDR")
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// What `POST /cluster/add` is told of a node.
    pub(crate) fn voter_to_add(&self, index: usize) -> Value {
        let Voter { label, peer, .. } = &self.voters[index];
        serde_json::json!({"node_id": label, "peer_addr": peer})
    }

    pub(crate) fn data_dir(&self, index: usize) -> PathBuf {
        self.directory.path().join(&self.voters[index].label)
    }

    /// `kill -9`, and waits until the kernel has taken the process.
    pub(crate) fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.voters[index].child.take() {
            child.kill().expect("the voter is killed");
            child.wait().expect("the voter is reaped");
        }
    }

    /// The memory that a voter's process has in RAM.
    pub(crate) fn resident_bytes(&self, index: usize) -> u64 {
        let child = self.voters[index].child.as_ref().expect("the voter was started");
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it runs");
        let kibibytes: u64 =
            line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("proc(5)");
        kibibytes * 1024
    }

    /// Sends a signal to a voter's process.
    pub(crate) fn signal(&self, index: usize, signal: Signal) {
        let child = self.voters[index].child.as_ref().expect("the voter was started");
        kill_process(Pid::from_child(child), signal).expect("it runs");
    }

    /// `kill -9` to all of them before any is waited for.
    pub(crate) fn kill_all(&mut self) {
        let mut children: Vec<Child> =
            self.voters.iter_mut().filter_map(|voter| voter.child.take()).collect();
        for child in &mut children {
            child.kill().expect("the voter is killed");
        }
        for child in &mut children {
            child.wait().expect("the voter is reaped");
        }
    }

    /// Waits for a voter that should end by itself.
    pub(crate) fn wait_exit(&mut self, index: usize, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        let child = self.voters[index].child.as_mut().expect("the voter was started");
        loop {
            if let Some(status) = child.try_wait().expect("the voter can be waited for") {
                self.voters[index].child = None;
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits until a voter answers 200 on `/ready`.
    pub(crate) fn wait_ready(&self, index: usize) {
        let mut caller = Caller::to(&[self.voters[index].http.clone()]);
        self.eventually(&format!("{} is ready", self.voters[index].label), || {
            matches!(caller.call("GET", "/ready", None), Reply::Answer { status: 200, .. })
                .then_some(())
        });
    }

    /// The index of the voter that leads, once all that answer agree that one does.
    pub(crate) fn leader(&self) -> usize {
        self.eventually("a leader is known", || {
            let addresses = self.addresses();
            let label = addresses.iter().find_map(|address| {
                let Reply::Answer { status: 200, body } =
                    Caller::to(std::slice::from_ref(address)).call("GET", "/election/status", None)
                else {
                    return None;
                };
                body["leader_id"].as_str().filter(|label| !label.is_empty()).map(str::to_owned)
            })?;
            self.voters.iter().position(|voter| voter.label == label && voter.child.is_some())
        })
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.voters.iter().map(|voter| voter.http.clone()).collect()
    }

    /// `--addr` for the command line.
    pub(crate) fn urls(&self) -> String {
        self.addresses()
            .iter()
            .map(|address| format!("http://{address}"))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The log of one voter so far.
    pub(crate) fn log(&self, index: usize) -> String {
        let path = self.directory.path().join(format!("{}.log", self.voters[index].label));
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Asks until there is an answer, for at most 60 seconds; then fails with the voters' logs.
    pub(crate) fn eventually<T>(&self, claim: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            if Instant::now() > deadline {
                let logs = (0..self.voters.len())
                    .map(|index| last_lines(&self.log(index)))
                    .collect::<Vec<_>>();
                panic!("not within a minute: {claim}\n{}", logs.join("\n---\n"));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// Sets a flag when the test fails: the threads that work until it is set are waited for.
pub(crate) struct SetOnFailure<'flag>(pub(crate) &'flag AtomicBool);

impl Drop for SetOnFailure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill_all();
        if std::thread::panicking() {
            for index in 0..self.voters.len() {
                eprintln!("--- {}\n{}", self.voters[index].label, last_lines(&self.log(index)));
            }
        }
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// A port below the ephemeral range that nothing listens on (TCP and UDP), given out once by this process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 12_000 + u16::try_from(std::process::id() % 900).expect("below 900") * 20;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        let address = ("127.0.0.1", port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}

/// What became of one HTTP call.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The server answered.
    Answer { status: u16, body: Value },
    /// Nothing was sent: certainly without effect.
    NotSent,
    /// It was sent and no answer came.
    Lost,
}

/// A keep-alive HTTP/1.1 connection to one of several addresses; goes to the next after a failure.
pub(crate) struct Caller {
    addresses: Vec<String>,
    at: usize,
    connection: Option<BufReader<TcpStream>>,
}

impl Caller {
    pub(crate) fn to(addresses: &[String]) -> Self {
        Self { addresses: addresses.to_vec(), at: 0, connection: None }
    }

    /// Starts at another of its addresses.
    pub(crate) fn starting_at(mut self, index: usize) -> Self {
        self.at = index % self.addresses.len();
        self
    }

    /// The address that the next call goes to, as far as one can be reached.
    pub(crate) fn address(&mut self) -> String {
        if self.connection.is_none() {
            self.connect();
        }
        self.addresses[self.at].clone()
    }

    /// One request and its answer; the wait is bounded by 20 seconds.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        if self.connection.is_none() && !self.connect() {
            return Reply::NotSent;
        }
        let connection = self.connection.as_mut().expect("connected above");
        let answer = connection
            .get_mut()
            .write_all(request.as_bytes())
            .and_then(|()| read_answer(connection));
        let Ok(Answered { status, body, is_last }) = answer else {
            self.next();
            return Reply::Lost;
        };
        if is_last {
            self.hang_up();
        }
        Reply::Answer { status, body }
    }

    /// Repeats a request that is safe to repeat until an answer below 500 comes, for two minutes.
    pub(crate) fn insist(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            match self.call(method, path, body) {
                Reply::Answer { status, body } if status < 500 => return (status, body),
                Reply::Answer { .. } => self.next(),
                Reply::NotSent | Reply::Lost => {}
            }
            assert!(Instant::now() < deadline, "{method} {path} got no answer within two minutes");
        }
    }

    fn connect(&mut self) -> bool {
        for _ in 0..self.addresses.len() {
            let address = self.addresses[self.at].parse().expect("a socket address");
            if let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
                stream.set_nodelay(true).expect("a TCP socket");
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a TCP socket");
                stream.set_write_timeout(Some(Duration::from_secs(5))).expect("a TCP socket");
                self.connection = Some(BufReader::new(stream));
                return true;
            }
            self.at = (self.at + 1) % self.addresses.len();
        }
        std::thread::park_timeout(Duration::from_millis(10));
        false
    }

    /// Ends its connection; the next call makes another.
    pub(crate) fn hang_up(&mut self) {
        self.connection = None;
    }

    /// Whether it has no connection: none yet, or the server ended it.
    pub(crate) fn has_hung_up(&self) -> bool {
        self.connection.is_none()
    }

    /// Leaves this address for the next.
    pub(crate) fn next(&mut self) {
        self.hang_up();
        self.at = (self.at + 1) % self.addresses.len();
    }
}

struct Answered {
    status: u16,
    body: Value,
    /// The server ends the connection with it.
    is_last: bool,
}

fn read_answer(connection: &mut BufReader<TcpStream>) -> std::io::Result<Answered> {
    let gone = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(gone());
    }
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(gone)?;
    let (mut length, mut is_last) = (0, false);
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err(gone());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| gone())?;
        }
        is_last |= name.eq_ignore_ascii_case("connection") && value.trim() == "close";
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).map_err(|_| gone())?;
    Ok(Answered { status, body, is_last })
}

/// The seed of a run: `QUORATE_SEED`, or a fresh one. Printed, so that a failure can be run again.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("QUORATE_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .expect("after 1970");
            u64::from(now.subsec_nanos()) ^ u64::from(std::process::id())
        });
    eprintln!("seed {seed} (run again with QUORATE_SEED={seed})");
    seed
}
