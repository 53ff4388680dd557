//! Drives the built binary as a user would: a clean environment, ports of its own, bounded waits.

use std::{
    io::{Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than anything here takes on a machine that does something else besides.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Its stdout, if it ended with this code.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.shortly());
        self.stdout.trim_end().to_owned()
    }

    /// Its stderr, if it ended with this code and said nothing else.
    #[track_caller]
    pub(crate) fn complaint(self, code: i32) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{}", self.shortly());
        self.stderr.trim_end().to_owned()
    }

    /// What it said, without pages of ids.
    fn shortly(&self) -> String {
        let stdout: String = self.stdout.chars().take(500).collect();
        format!("stdout: {stdout}\nstderr: {}", self.stderr)
    }
}

/// A user: a home, and nothing else in the environment.
pub(crate) struct User {
    pub(crate) home: TempDir,
    variables: Vec<(String, String)>,
}

impl User {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), variables: vec![] }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.into(), value.into()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_queue"));
        command
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `queue` to its end.
    #[track_caller]
    pub(crate) fn queue(&self, words: &[&str]) -> Said {
        finish(self.command(words).spawn().unwrap())
    }
}

/// Waits for a command's end, and kills it when that takes too long. What it says into a file is not in
/// what it said.
#[track_caller]
pub(crate) fn finish(mut child: Child) -> Said {
    let stdout = child.stdout.take().map(read_aside);
    let stderr = child.stderr.take().map(read_aside);
    let status = wait(&mut child, PATIENCE);
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let said = Said {
        code: status.and_then(|status| status.code()),
        stdout: stdout.map(|read| read.join().unwrap()).unwrap_or_default(),
        stderr: stderr.map(|read| read.join().unwrap()).unwrap_or_default(),
    };
    assert!(status.is_some(), "it did not end: {said:?}");
    said
}

fn read_aside(mut source: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let mut status = None;
    until(patience, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status
}

/// Looks again and again until `condition` holds; whether it did in time.
pub(crate) fn until(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// Sends a signal to a process that the test has started.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Two neighbouring ports, below those that the system hands out, that nobody uses now and that no
/// other test of this process is given.
pub(crate) fn two_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let of_process = u16::try_from(std::process::id() % 100).unwrap() * 100;
    loop {
        let port = 22_000 + (of_process + NEXT.fetch_add(2, Ordering::Relaxed)) % 10_000;
        let is_free = |port| {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
        };
        if is_free(port) && is_free(port + 1) {
            return port;
        }
    }
}

/// A running `queue serve`. Killed when dropped.
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) address: String,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a node in `data_dir` and waits until it leads or follows somebody.
    #[track_caller]
    pub(crate) fn start(user: &User, data_dir: &Path) -> Self {
        let port = two_ports();
        let listen = format!("127.0.0.1:{port}");
        let data_dir = data_dir.display().to_string();
        let words = ["serve", "--listen", &listen, "--data-dir", &data_dir, "--node-id", "n1"];
        let server = Self::spawn(user, port, &words);
        server.await_leader(user);
        server
    }

    /// Starts it without waiting.
    pub(crate) fn spawn(user: &User, port: u16, words: &[&str]) -> Self {
        let mut command = user.command(words);
        let log = std::fs::File::create(user.path(&format!("serve-{port}.log"))).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { child: Some(child), address: format!("http://127.0.0.1:{port}"), port }
    }

    #[track_caller]
    pub(crate) fn await_leader(&self, user: &User) {
        let words = ["leader", "--addr", &self.address];
        let is_there = until(PATIENCE, || user.queue(&words).code == Some(0));
        assert!(is_there, "no leader: {}", self.log(user));
    }

    pub(crate) fn log(&self, user: &User) -> String {
        std::fs::read_to_string(user.path(&format!("serve-{}.log", self.port))).unwrap()
    }

    /// The sum of a metric over those of its labels that begin with `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut metrics = String::new();
        stream.read_to_string(&mut metrics).unwrap();
        let beginning = format!("{name}{labels}");
        let lines = metrics.lines().filter(|line| line.starts_with(&beginning));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub(crate) fn terminate(self) -> Option<i32> {
        signal(self.child.as_ref().unwrap(), Signal::TERM);
        self.ended()
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let status = wait(&mut child, PATIENCE);
        if status.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        status.expect("it ends when it is asked to").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
