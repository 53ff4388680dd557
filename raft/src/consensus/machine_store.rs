//! The machine as openraft sees it: entries go in, snapshots come out.

use std::{
    fmt, io,
    num::NonZeroU64,
    sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use futures_util::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
};

use tokio::sync::watch;

use crate::{
    LogIndex, MachineError, StateMachine, codec,
    consensus::{
        blocking::Blocking,
        types::{Answer, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig},
    },
    snapshots::{SnapshotFile, SnapshotStore},
};

/// The machine, what it has applied, and where its snapshots are. Clones share them.
pub(crate) struct MachineStore<S: StateMachine> {
    applied: Arc<RwLock<Applied<S>>>,
    /// The index of the last entry applied, for whoever waits for one.
    index: Arc<watch::Sender<LogIndex>>,
    snapshots: Placing,
    blocking: Blocking,
    /// Told when the machine panicked: openraft would see the end of its task only when it has the
    /// next thing for it to do.
    failure: watch::Sender<Option<String>>,
}

/// A machine and the point in the log at which it stands. They change together, under one lock.
struct Applied<S> {
    machine: S,
    last: Option<LogId>,
    membership: StoredMembership,
}

impl<S: StateMachine> Clone for MachineStore<S> {
    fn clone(&self) -> Self {
        Self {
            applied: self.applied.clone(),
            index: self.index.clone(),
            snapshots: self.snapshots.clone(),
            blocking: self.blocking,
            failure: self.failure.clone(),
        }
    }
}

/// Alive while the machine is called; tells if that ends in a panic.
struct PanicWatch<'a> {
    failure: &'a watch::Sender<Option<String>>,
    doing: &'static str,
}

impl Drop for PanicWatch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = format!("the machine panicked while it was to {}", self.doing);
            self.failure.send_replace(Some(reason));
        }
    }
}

impl<S: StateMachine> fmt::Debug for MachineStore<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MachineStore").finish_non_exhaustive()
    }
}

impl<S: StateMachine> MachineStore<S> {
    /// An empty machine; openraft then restores the last snapshot and applies the log behind it.
    /// `failure` is told why this replica cannot go on, should the machine panic.
    pub(crate) fn new(
        machine: S,
        snapshots: SnapshotStore,
        blocking: Blocking,
        failure: watch::Sender<Option<String>>,
    ) -> Self {
        let applied = Applied { machine, last: None, membership: StoredMembership::default() };
        let applied = Arc::new(RwLock::new(applied));
        let snapshots = Placing { store: snapshots, turn: Arc::default() };
        let index = Arc::new(watch::Sender::new(0));
        Self { applied, index, snapshots, blocking, failure }
    }

    /// The index of the last entry applied, and every change of it.
    pub(crate) fn applied(&self) -> watch::Receiver<LogIndex> {
        self.index.subscribe()
    }

    /// Looks at the machine between two entries.
    pub(crate) fn look<T>(&self, view: impl FnOnce(&S) -> T) -> T {
        view(&self.read().machine)
    }

    fn read(&self) -> RwLockReadGuard<'_, Applied<S>> {
        self.applied.read().expect("a machine that panicked has stopped this replica")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Applied<S>> {
        self.applied.write().expect("a machine that panicked has stopped this replica")
    }
}

impl<S: StateMachine> RaftStateMachine<TypeConfig> for MachineStore<S> {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder<S>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.read();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, mut entries: I) -> io::Result<()>
    where
        I: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let id = entry.log_id;
            let answer = {
                let _watch = PanicWatch { failure: &self.failure, doing: "apply an entry" };
                let mut applied = self.write();
                let answer = match entry.payload {
                    EntryPayload::Blank => Answer::default(),
                    EntryPayload::Normal(command) => {
                        let outcome = applied.machine.apply(id.index, &command.0);
                        Answer::new(outcome.map_err(|error| cannot_apply(id.index, &error))?)
                    }
                    EntryPayload::Membership(membership) => {
                        applied.membership = StoredMembership::new(Some(id), membership);
                        Answer::default()
                    }
                };
                applied.last = Some(id);
                answer
            };
            self.index.send_replace(id.index);
            if let Some(responder) = responder {
                responder.send(answer);
            }
            // A long batch must not keep heartbeats from this thread.
            tokio::task::coop::consume_budget().await;
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder<S>> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder<S> {
        let _watch = PanicWatch { failure: &self.failure, doing: "freeze" };
        let applied = self.read();
        let meta =
            SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership.clone() };
        let image = Mutex::new(Some(applied.machine.freeze()));
        Builder { image, meta, snapshots: self.snapshots.clone(), blocking: self.blocking }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        file: SnapshotFile,
    ) -> io::Result<()> {
        let (store, meta) = (self.clone(), meta.clone());
        let installed = move || {
            // Lookers share this lock; nobody applies while openraft installs.
            let machine = store.read().machine.restore(&mut file.reader()?).map_err(invalid)?;
            store.snapshots.take_in(&file)?;
            let restored =
                Applied { machine, last: meta.last_log_id, membership: meta.last_membership };
            let old = std::mem::replace(&mut *store.write(), restored);
            // Millions of objects die here, on this thread rather than on the one that applies.
            drop(old);
            let index = meta.last_log_id.map_or(0, |id| id.index);
            store.index.send_replace(index);
            tracing::info!(index, bytes = file.len, "installed a snapshot");
            Ok(())
        };
        self.blocking.run(installed).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.snapshots.store.latest().map(kept).transpose()
    }
}

/// A frozen state on its way to a file.
pub(crate) struct Builder<S: StateMachine> {
    image: Mutex<Option<S::Image>>,
    meta: SnapshotMeta,
    snapshots: Placing,
    blocking: Blocking,
}

impl<S: StateMachine> RaftSnapshotBuilder<TypeConfig> for Builder<S> {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let image = self.image.get_mut().expect("held for this only").take();
        let image = image.ok_or_else(|| io::Error::other("built before"))?;
        let (snapshots, meta) = (self.snapshots.clone(), self.meta.clone());
        let rate = match self.blocking {
            Blocking::Threads => BYTES_PER_SECOND,
            Blocking::Inline => None,
        };
        let build = move || {
            let mut writer = snapshots.store.begin(codec::encode(&meta).into(), rate)?;
            S::write(image, &mut writer)?;
            let file = writer.finish()?;
            let index = meta.last_log_id.map_or(0, |id| id.index);
            tracing::info!(index, bytes = file.len, "wrote a snapshot");
            snapshots.in_turn(|latest| match latest.map(kept).transpose()? {
                // A newer one was installed meanwhile.
                Some(newer) if newer.meta.last_log_id > meta.last_log_id => Ok(newer),
                _ => {
                    snapshots.store.keep(&file)?;
                    kept(file)
                }
            })
        };
        self.blocking.run(build).await
    }
}

/// How fast a snapshot is written: it shares the disk with the log, whose syncs must not wait.
const BYTES_PER_SECOND: Option<NonZeroU64> = NonZeroU64::new(64 << 20);

/// Copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// Who may put a snapshot in the place of the newest: one at a time, having looked at that one.
#[derive(Debug, Clone)]
struct Placing {
    store: SnapshotStore,
    turn: Arc<Mutex<()>>,
}

impl Placing {
    fn in_turn<T>(
        &self,
        place: impl FnOnce(Option<SnapshotFile>) -> io::Result<T>,
    ) -> io::Result<T> {
        let _turn = self.turn.lock().expect("no holder of this lock panics");
        place(self.store.latest())
    }

    /// Makes `file` the newest. One of another store (as openraft's storage suite installs) is
    /// copied.
    fn take_in(&self, file: &SnapshotFile) -> io::Result<()> {
        self.in_turn(|_| match self.store.keep(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut receiver = self.store.receive(file.meta.clone())?;
                while receiver.received() < file.len {
                    let offset = receiver.received();
                    receiver.write_raw(offset, &file.read_raw(offset, COPY_BYTES)?)?;
                }
                self.store.keep(&receiver.finish()?)
            }
            kept => kept,
        })
    }
}

fn kept(file: SnapshotFile) -> io::Result<Snapshot> {
    let meta = codec::decode(&file.meta).map_err(invalid)?;
    Ok(Snapshot { meta, snapshot: file })
}

fn cannot_apply(index: u64, error: &MachineError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("cannot apply entry {index}: {error}"))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
