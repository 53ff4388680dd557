//! The server's binary: where it is, and what it can do as far as it says so itself.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::exit::Failure;

/// A `queue` to put under test.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub(crate) path: PathBuf,
    /// What `--version` prints.
    pub(crate) version: String,
    /// Whether `serve` gossips and wants a key where other machines can reach it.
    pub(crate) has_gossip_keys: bool,
    /// Whether there are agents: `queue worker`.
    pub(crate) has_agents: bool,
}

impl Binary {
    /// The one that was named; else the one beside this program, which `cargo run` brings up to date
    /// first, so that what is measured is what is written.
    pub(crate) fn find(named: Option<&Path>) -> Result<Self, Failure> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => beside_this_program()?,
        };
        let version = says(&path, &["--version"]).ok_or_else(|| {
            let path = path.display();
            Failure::Unable(format!(
                "{path} is not a `queue` that can be run: build it (cargo build --release) or name \
                 one with --queue-bin"
            ))
        })?;
        let serve = says(&path, &["serve", "--help"]).unwrap_or_default();
        let has_agents = says(&path, &["worker", "--help"]).is_some();
        Ok(Self {
            path,
            version: version.trim().to_owned(),
            has_gossip_keys: serve.contains("--gossip-key-file"),
            has_agents,
        })
    }
}

fn beside_this_program() -> Result<PathBuf, Failure> {
    let program = env::current_exe().map_err(Failure::harness("own path"))?;
    let folder = program.parent().unwrap_or(Path::new("."));
    // `cargo run` sets it for what it runs.
    if let (Some(cargo), Some(manifests)) =
        (env::var_os("CARGO"), env::var_os("CARGO_MANIFEST_DIR"))
    {
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--package", "quorate", "--bin", "queue"])
            .args(["--profile", profile])
            .current_dir(manifests)
            .stdin(Stdio::null())
            .status()
            .map_err(Failure::harness("running cargo"))?;
        if !built.success() {
            return Err(Failure::Unable("`queue` does not build".to_owned()));
        }
    }
    Ok(folder.join("queue"))
}

/// What a command prints, when it succeeds.
fn says(path: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(path).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_run_is_refused_by_name() {
        let error = Binary::find(Some(Path::new("/nowhere/queue"))).unwrap_err();
        assert_eq!(error.code(), crate::exit::BAD_ARGUMENTS);
        assert!(error.to_string().contains("/nowhere/queue"), "{error}");
    }
}
