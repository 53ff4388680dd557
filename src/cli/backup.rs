//! `queue backup`: the whole queue in a file.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::Args;
use serde_json::json;
use tokio::{
    fs::{self, File, OpenOptions},
    io::{AsyncWrite, AsyncWriteExt as _},
};

use super::{
    Exit, Failure,
    report::{Report, Table},
    session::{Session, cannot_print},
};
use crate::{client::Download, node::BackupCheck};

const EXAMPLES: &str = "\
Examples:
  queue backup monday.backup         FILE appears when all of it is there and checked
  queue backup - | gzip > a.gz       to stdout; the exit code says whether it is whole";

/// Copy the whole queue into a file, from the node that is asked.
///
/// The copy has every write that was acknowledged before. FILE is replaced when the new one is whole,
/// checked and on the disk. A node answers to its own machine alone.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BackupArgs {
    /// The file to write; `-` is stdout.
    file: PathBuf,
}

impl BackupArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let download = session.client.backup().await?;
        if self.file == Path::new("-") {
            let mut stdout = tokio::io::stdout();
            copy(download, &mut stdout, |error| cannot_print(&error)).await?;
            return Ok(Exit::OK);
        }
        let bytes = Partial::of(&self.file).fill(download).await?;
        session.end(&report(&self.file, bytes), Exit::OK)
    }
}

/// Copies a backup, and checks it. Returns its length.
async fn copy(
    mut download: Download,
    to: &mut (impl AsyncWrite + Unpin),
    cannot_write: impl Fn(io::Error) -> Failure,
) -> Result<u64, Failure> {
    let mut check = BackupCheck::default();
    while let Some(piece) = download.next().await {
        let piece = piece?;
        check.take(&piece);
        to.write_all(&piece).await.map_err(&cannot_write)?;
    }
    to.flush().await.map_err(&cannot_write)?;
    let torn = |fault| {
        Failure::new(Exit::UNAVAILABLE, "torn_backup", format!("what came is no backup: {fault}"))
    };
    check.finish().map_err(torn)
}

/// `FILE.partial`: removed when it is dropped, unless it has become FILE.
struct Partial<'file> {
    file: &'file Path,
    path: PathBuf,
}

impl<'file> Partial<'file> {
    fn of(file: &'file Path) -> Self {
        let mut path = file.as_os_str().to_owned();
        path.push(".partial");
        Self { file, path: path.into() }
    }

    /// Writes the backup, and makes it FILE once it is whole and on the disk. Returns its length.
    async fn fill(&self, download: Download) -> Result<u64, Failure> {
        let cannot_write = |error: io::Error| self.cannot_write(&error);
        let mut options = OpenOptions::new();
        // For its owner's eyes: it holds every payload.
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut partial = options.open(&self.path).await.map_err(cannot_write)?;
        let bytes = copy(download, &mut partial, cannot_write).await?;
        partial.sync_all().await.map_err(cannot_write)?;
        fs::rename(&self.path, self.file).await.map_err(cannot_write)?;
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new("."))).await.map_err(cannot_write)?;
        folder.sync_all().await.map_err(cannot_write)?;
        Ok(bytes)
    }

    fn cannot_write(&self, error: &io::Error) -> Failure {
        let message = format!("cannot write {}: {error}", self.file.display());
        Failure::new(Exit::FAILED, "io", message)
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        // Gone already when it has become FILE, or was never made.
        drop(std::fs::remove_file(&self.path));
    }
}

fn report(file: &Path, bytes: u64) -> Report {
    let name = file.display().to_string();
    Report {
        json: Bytes::from(json!({"status": "written", "file": name, "bytes": bytes}).to_string()),
        items: None,
        plain: vec![name.clone()],
        table: Table::of_pairs([("file", name.into()), ("bytes", bytes.into())]),
    }
}
