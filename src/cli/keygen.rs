//! `queue keygen`: a key that seals the gossip.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::Args;
use membership::Keyring;
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::json;

use super::{
    Exit, Failure,
    report::{Report, Table, print},
    session::{Session, cannot_print},
};

const NOTES: &str = "\
Every node and agent of the cluster is started with the same file: `--gossip-key-file FILE`.
To change the key without a stop: add the new one as the last line everywhere and restart each in
turn, then make it the first line everywhere and again, then remove the old line.

Examples:
  queue keygen /etc/quorate/gossip.key     FILE is new, and its owner's alone
  queue keygen                             prints the line to add to a file";

/// Make a key that seals the gossip.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct KeygenArgs {
    /// The file to write, which must not exist [default: stdout].
    file: Option<PathBuf>,
}

impl KeygenArgs {
    pub(super) fn run(&self, session: &Session) -> Result<Exit, Failure> {
        let text = Keyring::generate(random_bytes()?);
        let Some(file) = &self.file else {
            let shown = if session.look.is_json() {
                json!({ "keyring": text }).to_string() + "\n"
            } else {
                text
            };
            print(&shown).map_err(|error| cannot_print(&error))?;
            return Ok(Exit::OK);
        };
        write(file, &text).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    "exists already: a key is never written over".into()
                }
                _ => error.to_string(),
            };
            Failure::new(Exit::FAILED, "key_file", format!("{}: {reason}", file.display()))
        })?;
        session.end(&report(file), Exit::OK)
    }
}

fn random_bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                let message = format!("the operating system gives no random bytes: {error}");
                return Err(Failure::new(Exit::FAILED, "randomness", message));
            }
        }
    }
    Ok(bytes)
}

/// Writes a new file that its owner alone can read, all of it and to the disk, or leaves none.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.inspect_err(|_| _ = std::fs::remove_file(path))
}

fn report(file: &Path) -> Report {
    let path = file.display().to_string();
    Report {
        json: Bytes::from(json!({ "file": path }).to_string()),
        items: None,
        plain: vec![path.clone()],
        table: Table::of_pairs([
            ("written", path.into()),
            ("next", "copy it to every node and agent, and name it with --gossip-key-file".into()),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_file_is_new_readable_by_its_owner_alone_and_a_keyring() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gossip.key");
        write(&path, &Keyring::generate(random_bytes().unwrap())).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let first = Keyring::read(&path).unwrap();
        let again = write(&path, "other").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(Keyring::read(&path).unwrap(), first, "it stays as it was");
    }

    #[test]
    fn two_keys_differ() {
        assert_ne!(random_bytes::<32>().unwrap(), random_bytes::<32>().unwrap());
    }
}
