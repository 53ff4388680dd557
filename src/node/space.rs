//! Room on the disk. Adds are refused while the leader has little of it left; what is under way goes
//! on: holders' calls and claims write little, and without them the queue could never get shorter.
//!
//! Only the node that proposes looks at its own disk. A follower that is full stops with a failed write
//! as it would without this; its lack shows in its own `/ready`.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};

use super::{admission::Lane, gather::Setback, open::Node};

/// How long the last look counts.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who knows how much room a disk has.
pub trait Space: fmt::Debug + Send + Sync {
    /// What this process may still write to the file system of `directory`, bytes. May block.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;
}

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileSystem;

impl Space for FileSystem {
    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let file_system = rustix::fs::statvfs(directory)?;
        // Without what is kept for the superuser.
        Ok(file_system.f_bavail.saturating_mul(file_system.f_frsize))
    }
}

/// What is known of the room on this node's disk.
#[derive(Debug)]
pub(super) struct Room {
    space: Arc<dyn Space>,
    directory: PathBuf,
    reserve_bytes: u64,
    /// At the last look; without one there is enough.
    free_bytes: AtomicU64,
}

/// There is less room than the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lack {
    free_bytes: u64,
    reserve_bytes: u64,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { free_bytes, reserve_bytes } = self;
        write!(
            f,
            "{free_bytes} bytes are free, less than the reserve of {reserve_bytes}: while this node \
             leads, adds are refused"
        )
    }
}

impl Room {
    pub(super) fn new(space: Arc<dyn Space>, directory: &Path, reserve_bytes: u64) -> Self {
        let free_bytes = AtomicU64::new(u64::MAX);
        Self { space, directory: directory.to_owned(), reserve_bytes, free_bytes }
    }

    /// What was free at the last look; `None` when nobody has looked.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        Some(self.free_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes != u64::MAX)
    }

    /// How much is missing, if anything is.
    pub(super) fn lack(&self) -> Option<Lack> {
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        let reserve_bytes = self.reserve_bytes;
        (free_bytes < reserve_bytes).then_some(Lack { free_bytes, reserve_bytes })
    }

    /// Lets in what keeps or frees what is leased, and claims; adds only while there is room.
    pub(super) fn admit(&self, lane: Lane) -> Result<(), Setback> {
        match lane {
            Lane::Add if self.lack().is_some() => Err(Setback::DiskFull),
            Lane::Add | Lane::Holder | Lane::Claim => Ok(()),
        }
    }

    /// Looks. A disk that does not answer keeps what was known of it, and no second thread is spent on
    /// it meanwhile.
    async fn look(&self) -> io::Result<()> {
        let (space, directory) = (Arc::clone(&self.space), self.directory.clone());
        let free_bytes = spawn_blocking(move || space.free_bytes(&directory)).await??;
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// Looks again and again until the future is dropped. What changes is logged once.
pub(super) async fn watch(node: Arc<Node>) {
    let room = &node.room;
    if room.reserve_bytes == 0 {
        return;
    }
    let (mut lacked, mut was_readable) = (false, true);
    loop {
        let looked = room.look().await;
        if let Err(error) = &looked
            && was_readable
        {
            tracing::warn!(%error, "cannot learn how much room the disk has");
        }
        was_readable = looked.is_ok();
        match room.lack() {
            Some(lack) if !lacked => tracing::warn!("the disk is nearly full: {lack}"),
            None if lacked => tracing::info!("the disk has room again"),
            Some(_) | None => {}
        }
        lacked = room.lack().is_some();
        sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with this much room, or none that answers.
    #[derive(Debug)]
    struct Fixed(Option<u64>);

    impl Space for Fixed {
        fn free_bytes(&self, _: &Path) -> io::Result<u64> {
            self.0.ok_or_else(|| io::ErrorKind::TimedOut.into())
        }
    }

    fn room(free_bytes: Option<u64>, reserve_bytes: u64) -> Room {
        Room::new(Arc::new(Fixed(free_bytes)), Path::new("/d"), reserve_bytes)
    }

    #[tokio::test]
    async fn only_adds_are_refused_and_only_below_the_reserve() {
        let low = room(Some(99), 100);
        assert_eq!(low.admit(Lane::Add), Ok(()), "nobody has looked");
        low.look().await.unwrap();
        assert_eq!(low.admit(Lane::Add), Err(Setback::DiskFull));
        assert_eq!((low.admit(Lane::Holder), low.admit(Lane::Claim)), (Ok(()), Ok(())));
        let enough = room(Some(100), 100);
        enough.look().await.unwrap();
        assert_eq!((enough.admit(Lane::Add), enough.lack()), (Ok(()), None));
    }

    #[tokio::test]
    async fn a_look_that_fails_keeps_what_was_known() {
        let silent = room(None, 100);
        silent.free_bytes.store(5, Ordering::Relaxed);
        assert!(silent.look().await.is_err());
        assert_eq!(silent.lack(), Some(Lack { free_bytes: 5, reserve_bytes: 100 }));
    }

    #[test]
    fn the_file_system_of_a_directory_that_is_there_is_known() {
        let directory = tempfile::tempdir().unwrap();
        assert!(FileSystem.free_bytes(directory.path()).is_ok());
        assert!(FileSystem.free_bytes(&directory.path().join("missing")).is_err());
    }
}
