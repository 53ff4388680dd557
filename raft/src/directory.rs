//! The data directory: whose it is, who holds it, and small files that are replaced as a whole.
//!
//! ```text
//!   <data dir>/lock        held for the life of the process
//!              identity    a cell: which peer of which cluster this is
//!              log/        see [`crate::log`]
//!              snapshots/  see [`crate::snapshots`]
//! ```
//!
//! # A cell, all integers little-endian
//! ```text
//!   "RAFTCELL" 8 │ version 4 │ length 4 │ crc32 4, over version, length and body │ body <length>
//! ```
//! A cell is written beside its old self, synced, and renamed over it: after a crash it holds the old
//! body or the new one, whole. A cell that holds anything else is refused.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bincode::Options as _;
use bytes::Bytes;

use crate::{
    Disk, OpenError, PeerId,
    disk::{DirectoryLock, read_exact_at},
};

/// The greatest body of a cell, bytes.
pub const CELL_BYTES_MAX: usize = 1 << 20;

const MAGIC: &[u8; 8] = b"RAFTCELL";
const VERSION: u32 = 1;
const PREFIX: usize = 8 + 4 + 4 + 4;

/// Which peer of which cluster a directory belongs to, for ever.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The Raft id, drawn when the directory was made.
    pub peer_id: PeerId,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's minted id; 0 until it is known, and then fixed.
    pub cluster_id: u64,
    /// The Raft group within the cluster.
    pub group_id: u64,
    /// The name that people use for this peer.
    pub label: String,
}

/// An open data directory. No other process can open it while this lives.
#[derive(Debug)]
pub struct DataDirectory {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    identity: Identity,
    _lock: DirectoryLock,
}

impl DataDirectory {
    /// Opens the directory at `path`, creating it when absent. A directory without an identity
    /// becomes `expected`'s, its fresh `peer_id` included; one with an identity keeps its peer id
    /// and cluster id, and must agree in cluster, group and label.
    ///
    /// # Errors
    /// [`OpenError::Locked`], [`OpenError::WrongDirectory`], [`OpenError::Corrupt`] and
    /// [`OpenError::Io`]. Nothing but the empty directory and the lock file was created then.
    pub fn open(disk: Arc<dyn Disk>, path: &Path, expected: Identity) -> Result<Self, OpenError> {
        let failed =
            |source| io_error(format!("cannot open data directory {}", path.display()), source);
        disk.create_dir_all(path).map_err(failed)?;
        let lock = match disk.lock(&path.join("lock")) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(OpenError::Locked { dir: path.to_owned() });
            }
            Err(error) => return Err(failed(error)),
        };
        let mut directory = Self { disk, path: path.to_owned(), identity: expected, _lock: lock };
        match directory.read_identity()? {
            Some(found) => directory.recognise(found)?,
            None => directory.found()?,
        }
        Ok(directory)
    }

    /// Whose directory this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the log is.
    pub fn log_dir(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where the snapshots are.
    pub fn snapshots_dir(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// Binds the directory to a cluster's minted id; durable when it returns.
    ///
    /// # Errors
    /// [`OpenError::WrongDirectory`] when it is bound to another (unchanged then), and
    /// [`OpenError::Io`] (it may be bound or not).
    pub fn bind_to_cluster(&mut self, cluster_id: u64) -> Result<(), OpenError> {
        if self.identity.cluster_id == cluster_id {
            return Ok(());
        }
        if self.identity.cluster_id != 0 {
            let bound = self.identity.cluster_id;
            return Err(self.wrong(format!("it belongs to cluster id {bound}, not {cluster_id}")));
        }
        self.write_identity(&Identity { cluster_id, ..self.identity.clone() })?;
        self.identity.cluster_id = cluster_id;
        Ok(())
    }

    /// The body of the cell `name`; `None` when it was never written.
    ///
    /// # Errors
    /// As [`read_cell`].
    pub fn read_cell(&self, name: &str) -> Result<Option<Bytes>, OpenError> {
        read_cell(self.disk.as_ref(), &self.path.join(name))
    }

    /// Replaces the body of the cell `name`; durable when it returns.
    ///
    /// # Errors
    /// As [`write_cell`].
    pub fn write_cell(&self, name: &str, body: &[u8]) -> io::Result<()> {
        write_cell(self.disk.as_ref(), &self.path.join(name), body)
    }

    fn recognise(&mut self, found: Identity) -> Result<(), OpenError> {
        let expected = &self.identity;
        if found.cluster != expected.cluster {
            let names = format!("cluster {:?}, not {:?}", found.cluster, expected.cluster);
            return Err(self.wrong(format!("it belongs to {names}")));
        }
        if found.group_id != expected.group_id {
            let ids = format!("group {}, not {}", found.group_id, expected.group_id);
            return Err(self.wrong(format!("it belongs to {ids}")));
        }
        if found.label != expected.label {
            let labels = format!("node {:?}, not {:?}", found.label, expected.label);
            return Err(self.wrong(format!("it belongs to {labels}")));
        }
        self.identity = found;
        Ok(())
    }

    /// Makes a fresh directory this peer's. A log without an identity is no fresh directory: its
    /// vote and its entries were some other peer's.
    fn found(&self) -> Result<(), OpenError> {
        for dir in [self.log_dir(), self.snapshots_dir()] {
            let failed = |source| io_error(format!("cannot look into {}", dir.display()), source);
            self.disk.create_dir_all(&dir).map_err(failed)?;
            if !self.disk.list(&dir).map_err(failed)?.is_empty() {
                let reason = format!("{} has files, but the identity file is gone", dir.display());
                return Err(self.wrong(reason));
            }
        }
        self.write_identity(&self.identity)
    }

    fn read_identity(&self) -> Result<Option<Identity>, OpenError> {
        let Some(body) = self.read_cell("identity")? else { return Ok(None) };
        let decoded = codec().deserialize(&body);
        decoded.map(Some).map_err(|error| OpenError::Corrupt {
            file: self.path.join("identity"),
            offset: PREFIX as u64,
            reason: format!("it holds no identity: {error}"),
        })
    }

    fn write_identity(&self, identity: &Identity) -> Result<(), OpenError> {
        let body = codec().serialize(identity);
        let body = body.map_err(|error| OpenError::Options(format!("the identity: {error}")))?;
        self.write_cell("identity", &body)
            .map_err(|source| io_error("cannot write the identity file", source))
    }

    fn wrong(&self, reason: String) -> OpenError {
        OpenError::WrongDirectory { dir: self.path.clone(), reason }
    }
}

/// The body of the cell at `path`; `None` when there is no such file.
///
/// # Errors
/// [`OpenError::Corrupt`] when the file is not a whole cell, and [`OpenError::Io`].
pub fn read_cell(disk: &dyn Disk, path: &Path) -> Result<Option<Bytes>, OpenError> {
    let failed = |source| io_error(format!("cannot read {}", path.display()), source);
    let dir = parent(path).map_err(failed)?;
    if !disk.list(dir).map_err(failed)?.iter().any(|file| file == path) {
        return Ok(None);
    }
    let file = disk.open(path).map_err(failed)?;
    let len = usize::try_from(file.len().map_err(failed)?).unwrap_or(usize::MAX);
    if len > PREFIX + CELL_BYTES_MAX {
        return Err(not_a_cell(path, format!("{len} bytes are too many")));
    }
    let mut bytes = vec![0; len];
    read_exact_at(file.as_ref(), &mut bytes, 0).map_err(failed)?;
    decode_cell(&bytes).map(Some).map_err(|reason| not_a_cell(path, reason.to_owned()))
}

/// Replaces the body of the cell at `path`; durable when it returns.
///
/// # Errors
/// `InvalidInput` for a body above [`CELL_BYTES_MAX`] (nothing was written); after any other the
/// cell may hold the old body or the new one.
pub fn write_cell(disk: &dyn Disk, path: &Path, body: &[u8]) -> io::Result<()> {
    if body.len() > CELL_BYTES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let partial = path.with_extension("partial");
    let file = disk.open(&partial)?;
    file.set_len(0)?;
    file.write_at(&encode_cell(body), 0)?;
    file.sync_data()?;
    disk.rename(&partial, path)?;
    disk.sync_dir(parent(path)?)
}

fn encode_cell(body: &[u8]) -> Vec<u8> {
    let version = VERSION.to_le_bytes();
    let length = u32::try_from(body.len()).expect("at most CELL_BYTES_MAX").to_le_bytes();
    let checksum = checksum(version, length, body).to_le_bytes();
    [MAGIC.as_slice(), &version, &length, &checksum, body].concat()
}

fn decode_cell(bytes: &[u8]) -> Result<Bytes, &'static str> {
    let (prefix, body) = bytes.split_at_checked(PREFIX).ok_or("it is too short")?;
    let (magic, prefix) = prefix.split_at(MAGIC.len());
    let [version, length, found] =
        [0, 4, 8].map(|at| [prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]]);
    if magic != MAGIC {
        return Err("it does not begin as it should");
    }
    if u32::from_le_bytes(version) != VERSION {
        return Err("its format version is not one that this program knows");
    }
    let is_whole = u32::from_le_bytes(length) as usize == body.len()
        && u32::from_le_bytes(found) == checksum(version, length, body);
    if is_whole { Ok(Bytes::copy_from_slice(body)) } else { Err("its checksum is wrong") }
}

fn checksum(version: [u8; 4], length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&version);
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}

fn codec() -> impl bincode::Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(CELL_BYTES_MAX as u64)
        .reject_trailing_bytes()
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn not_a_cell(path: &Path, reason: String) -> OpenError {
    OpenError::Corrupt { file: path.to_owned(), offset: 0, reason }
}

fn io_error(action: impl Into<String>, source: io::Error) -> OpenError {
    OpenError::Io { action: action.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Loss, MemoryDisk, OsDisk};

    fn identity(peer_id: PeerId, cluster: &str, label: &str) -> Identity {
        Identity {
            peer_id,
            cluster: cluster.to_owned(),
            cluster_id: 0,
            group_id: 0,
            label: label.to_owned(),
        }
    }

    fn open(disk: &Arc<MemoryDisk>, expected: Identity) -> Result<DataDirectory, OpenError> {
        DataDirectory::open(Arc::clone(disk) as Arc<dyn Disk>, Path::new("/data"), expected)
    }

    #[test]
    fn a_directory_keeps_its_first_id_and_its_cluster() {
        let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
        let mut directory = open(&disk, identity(7, "prod", "a")).unwrap();
        directory.bind_to_cluster(99).unwrap();
        assert!(matches!(directory.bind_to_cluster(98), Err(OpenError::WrongDirectory { .. })));
        disk.crash(2);
        let found = open(&disk, identity(8, "prod", "a")).unwrap();
        assert_eq!(found.identity(), &Identity { cluster_id: 99, ..identity(7, "prod", "a") });
    }

    /// api 1.token.group.stored, 5.fault.other-cluster
    #[test]
    fn another_clusters_or_nodes_directory_is_refused() {
        let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
        open(&disk, identity(7, "prod", "a")).unwrap();
        let another_group = Identity { group_id: 1, ..identity(8, "prod", "a") };
        for other in [identity(8, "test", "a"), identity(8, "prod", "b"), another_group] {
            assert!(matches!(open(&disk, other), Err(OpenError::WrongDirectory { .. })));
        }
    }

    #[test]
    fn a_log_without_an_identity_is_nobodys() {
        let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
        disk.put(Path::new("/data/log/0000000001.log"), vec![1]);
        let refused = open(&disk, identity(7, "prod", "a"));
        assert!(matches!(refused, Err(OpenError::WrongDirectory { .. })));
    }

    #[test]
    fn two_opens_of_one_directory_exclude_each_other() {
        let temp = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let open = || DataDirectory::open(Arc::clone(&disk), temp.path(), identity(7, "prod", "a"));
        let first = open().unwrap();
        assert!(matches!(open(), Err(OpenError::Locked { .. })));
        drop(first);
        open().unwrap();
    }

    #[test]
    fn a_cell_holds_the_old_body_or_the_new_one_after_a_crash() {
        let path = Path::new("/data/promise");
        for loss in [Loss::Lose, Loss::Keep, Loss::Tear] {
            for calls in 0..12 {
                let disk = MemoryDisk::new(loss, calls.into());
                write_cell(&disk, path, b"old").unwrap();
                disk.cut_power_after(calls);
                let is_written = write_cell(&disk, path, &[b'n'; 2000]).is_ok();
                disk.crash(1);
                let body = read_cell(&disk, path).unwrap().unwrap();
                assert!(body == [b'n'; 2000].as_slice() || (!is_written && body == "old"));
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_cell_is_refused() {
        let path = Path::new("/data/promise");
        let disk = MemoryDisk::new(Loss::Lose, 1);
        assert_eq!(read_cell(&disk, path).unwrap(), None);
        write_cell(&disk, path, b"promised").unwrap();
        for offset in 0..disk.durable(path).unwrap().len() as u64 {
            disk.flip(path, offset, 4).unwrap();
            assert!(matches!(read_cell(&disk, path), Err(OpenError::Corrupt { .. })));
            disk.flip(path, offset, 4).unwrap();
        }
        assert_eq!(read_cell(&disk, path).unwrap().unwrap(), "promised");
    }

    #[test]
    fn the_identity_file_is_these_bytes() {
        let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
        let expected = Identity { cluster_id: 5, group_id: 6, ..identity(7, "prod", "a") };
        open(&disk, expected).unwrap();
        let bytes = disk.durable(Path::new("/data/identity")).unwrap();
        let golden: [&[u8]; 5] = [
            b"RAFTCELL\x01\0\0\0-\0\0\0\xb3jA\x9f",
            b"\x07\0\0\0\0\0\0\0",
            b"\x04\0\0\0\0\0\0\0prod",
            b"\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0",
            b"\x01\0\0\0\0\0\0\0a",
        ];
        assert_eq!(bytes, golden.concat());
    }
}
