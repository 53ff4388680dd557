//! openraft's own tests of a log store and a state machine, over ours: the real log and the real
//! snapshot store on a disk in memory.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use openraft::{
    RaftLogReader as _,
    entry::RaftEntry as _,
    testing::log::{StoreBuilder, Suite},
    vote::RaftLeaderId,
};
use tokio::sync::watch;

use crate::{
    Disk, LogIndex, MachineError, StateMachine,
    consensus::{
        blocking::Blocking,
        log_store::{LogStore, encode_entry},
        machine_store::MachineStore,
        types::{Entry, LogId, TypeConfig, Vote},
    },
    disk::{Loss, MemoryDisk},
    log::{Log, LogOptions, Record},
    snapshots::SnapshotStore,
};

/// Counts what it has applied.
#[derive(Debug, Default)]
struct Count(u64);

impl StateMachine for Count {
    type Outcome = u64;
    type Image = u64;

    fn apply(&mut self, _index: LogIndex, _entry: &Bytes) -> Result<u64, MachineError> {
        self.0 += 1;
        Ok(self.0)
    }

    fn freeze(&self) -> u64 {
        self.0
    }

    fn write(image: u64, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&image.to_le_bytes())
    }

    fn restore(&self, source: &mut dyn io::Read) -> Result<Self, MachineError> {
        let mut bytes = [0; 8];
        source.read_exact(&mut bytes).map_err(|error| MachineError(error.to_string()))?;
        Ok(Self(u64::from_le_bytes(bytes)))
    }
}

type Stores = (Arc<dyn Disk>, LogStore, MachineStore<Count>);
type StorageError = openraft::StorageError<TypeConfig>;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, MachineStore<Count>, Arc<dyn Disk>> for Builder {
    async fn build(&self) -> Result<Stores, StorageError> {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new(Loss::Lose, 1));
        let blocking = Blocking::on(&*disk);
        let options = LogOptions { segment_bytes: 4 << 10, cache_bytes: 1 << 10 };
        let (log, recovered) =
            Log::open(disk.clone(), Path::new("/log"), options).expect("a good disk");
        let snapshots = SnapshotStore::open(disk.clone(), Path::new("/snapshots"));
        let (snapshots, failure) = (snapshots.expect("a good disk"), watch::Sender::new(None));
        let machine = MachineStore::new(Count::default(), snapshots, blocking, failure);
        Ok((disk, LogStore::new(log, &recovered, blocking).expect("an empty log"), machine))
    }
}

#[test]
fn openrafts_own_storage_suite_passes_over_the_real_log() {
    let suite =
        Suite::<TypeConfig, LogStore, MachineStore<Count>, Builder, Arc<dyn Disk>>::test_all(
            Builder,
        );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(crate::consensus::seeded(1, suite)).unwrap();
}

#[tokio::test]
async fn a_read_for_a_follower_that_a_purge_overtook_gives_nothing_rather_than_a_hole() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let blocking = Blocking::on(&*disk);
    let options = LogOptions { segment_bytes: 4 << 10, cache_bytes: 1 << 10 };
    let (log, recovered) = Log::open(disk, Path::new("/log"), options).unwrap();
    let leader = Vote::new(1, 1).leader_id.to_committed();
    let id = |index| LogId::new(leader, index);
    let entries = (0..9).map(|index| Record::Append(encode_entry(&Entry::new_blank(id(index)))));
    log.write(entries.collect(), |result| result.unwrap());
    let bytes = crate::codec::encode(&id(4)).into();
    log.write(vec![Record::Purge { upto: 4, bytes }], |result| result.unwrap());
    let mut store = LogStore::new(log, &recovered, blocking).unwrap();
    assert!(store.limited_get_log_entries(2, 9).await.unwrap().is_empty());
    assert_eq!(store.limited_get_log_entries(5, 9).await.unwrap().len(), 4);
}
