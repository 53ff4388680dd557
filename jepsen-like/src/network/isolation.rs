//! Entering namespaces of the run's own: the program starts itself again inside them.

use std::{
    env, fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::exit::Failure;

/// Set in the program that runs inside.
const INSIDE: &str = "JEPSEN_LIKE_ISOLATED";

/// Whether this process has a network of its own.
pub(crate) fn is_isolated() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Makes sure of a network and a mount namespace of the run's own. Does not return unless this process
/// is inside already: it is replaced by one that is.
pub(crate) fn enter() -> Result<(), Failure> {
    if is_isolated() {
        return prepare();
    }
    need("unshare", "util-linux")?;
    need("ip", "iproute2")?;
    need("iptables-restore", "iptables")?;
    let as_user: &[&str] =
        if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let probe = Command::new("unshare")
        .args(as_user)
        .args(["--net", "--mount", "true"])
        .stderr(Stdio::null())
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        return Err(Failure::Unable(
            "cutting the network needs root, or a kernel that lets users make namespaces \
             (unshare --user --net). A proxy in user space cannot stand in: a node has one \
             address that all its peers dial, so a proxy before it cannot tell who is to be cut \
             off"
            .to_owned(),
        ));
    }
    let program = env::current_exe().map_err(Failure::harness("own path"))?;
    let error = Command::new("unshare")
        .args(as_user)
        .args(["--net", "--mount", "--"])
        .arg(program)
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(Failure::harness("starting again in a network namespace")(error))
}

fn need(tool: &str, package: &str) -> Result<(), Failure> {
    let is_there = env::var_os("PATH").is_some_and(|path| {
        env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|folder| folder.join(tool).exists())
    });
    if is_there {
        return Ok(());
    }
    Err(Failure::Unable(format!(
        "cutting the network needs `{tool}`: install the package {package} (apt-get install \
         util-linux iproute2 iptables)"
    )))
}

/// The names of namespaces go below a `/run` that only this run sees; the hub forwards.
fn prepare() -> Result<(), Failure> {
    run("mount", &["-t", "tmpfs", "jepsen-like", "/run"])?;
    fs::create_dir_all("/run/netns").map_err(Failure::harness("/run/netns"))?;
    run("ip", &["link", "set", "lo", "up"])?;
    let forward = Path::new("/proc/sys/net/ipv4/ip_forward");
    fs::write(forward, "1").map_err(Failure::harness(forward.display().to_string()))
}

/// Runs a tool that is to succeed quietly.
pub(super) fn run(tool: &str, arguments: &[&str]) -> Result<(), Failure> {
    let what = || format!("{tool} {}", arguments.join(" "));
    let output = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::harness(what()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::harness(what())(std::io::Error::other(said)))
}
