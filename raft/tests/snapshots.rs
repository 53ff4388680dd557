//! Snapshot files: round trips, power cuts, damage, and the bytes themselves.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use raft::{
    Disk, OpenError,
    disk::{Loss, MemoryDisk},
    snapshots::{SnapshotFile, SnapshotStore},
};

fn dir() -> &'static Path {
    Path::new("/snapshots")
}

fn open(disk: &Arc<MemoryDisk>) -> Result<SnapshotStore, OpenError> {
    SnapshotStore::open(Arc::clone(disk) as Arc<dyn Disk>, dir())
}

fn write(store: &SnapshotStore, meta: &'static str, data: &[u8]) -> io::Result<SnapshotFile> {
    let mut writer = store.begin(Bytes::from(meta), None)?;
    writer.write_all(data)?;
    let snapshot = writer.finish()?;
    store.keep(&snapshot)?;
    Ok(snapshot)
}

fn read(snapshot: &SnapshotFile) -> Vec<u8> {
    let mut data = Vec::new();
    snapshot.reader().unwrap().read_to_end(&mut data).unwrap();
    data
}

/// Two and a half chunks that differ everywhere.
fn large() -> Vec<u8> {
    (0..2_600_000_u32).flat_map(u32::to_le_bytes).take(2_600_000).collect()
}

#[test]
fn what_was_written_is_read_after_a_power_cut() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    for data in [Vec::new(), b"small".to_vec(), vec![7; 1 << 20], large()] {
        write(&open(&disk).unwrap(), "meta", &data).unwrap();
        disk.crash(2);
        let latest = open(&disk).unwrap().latest().unwrap();
        assert_eq!(latest.meta, "meta");
        assert_eq!(read(&latest), data);
    }
}

#[test]
fn a_power_cut_leaves_the_old_snapshot_or_the_new_one_whole() {
    for loss in [Loss::Lose, Loss::Keep, Loss::Tear] {
        for calls in 0..16 {
            let disk = Arc::new(MemoryDisk::new(loss, calls.into()));
            let store = open(&disk).unwrap();
            write(&store, "old", &[1; 3000]).unwrap();
            disk.cut_power_after(calls);
            let is_committed = write(&store, "new", &[2; 3000]).is_ok();
            disk.crash(3);
            let latest = open(&disk).unwrap().latest().unwrap();
            let is_new = latest.meta == "new";
            assert!(is_new || !is_committed, "{loss:?}, {calls} calls");
            assert_eq!(read(&latest), [if is_new { 2 } else { 1 }; 3000]);
        }
    }
}

#[test]
fn the_newest_replaces_the_older_which_stays_readable_where_it_is_open() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let store = open(&disk).unwrap();
    let old = write(&store, "old", b"old data").unwrap();
    let unfinished = store.begin(Bytes::from("unfinished"), None).unwrap();
    let new = write(&store, "new", b"new data").unwrap();
    assert_eq!(store.latest().unwrap().path(), new.path());
    assert_eq!(read(&old), b"old data");
    drop(unfinished);
    assert_eq!(disk.list(dir()).unwrap(), [new.path()]);
}

#[test]
fn the_last_to_be_complete_is_the_newest_after_a_start_too() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let store = open(&disk).unwrap();
    let early = store.begin(Bytes::from("begun first, complete last"), None).unwrap();
    write(&store, "begun last, complete first", b"").unwrap();
    store.keep(&early.finish().unwrap()).unwrap();
    disk.crash(2);
    assert_eq!(open(&disk).unwrap().latest().unwrap().meta, "begun first, complete last");
}

#[test]
fn every_flipped_bit_is_refused_at_the_start() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let snapshot = write(&open(&disk).unwrap(), "meta", b"some data").unwrap();
    for offset in 0..snapshot.len {
        disk.flip(&snapshot.path(), offset, 16).unwrap();
        let refused = open(&disk);
        assert!(matches!(refused, Err(OpenError::Corrupt { .. })), "byte {offset}: {refused:?}");
        disk.flip(&snapshot.path(), offset, 16).unwrap();
    }
    open(&disk).unwrap();
}

#[test]
fn a_shortened_lengthened_or_rearranged_snapshot_is_refused() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let snapshot = write(&open(&disk).unwrap(), "meta", &large()).unwrap();
    let whole = disk.durable(&snapshot.path()).unwrap();
    let longer = [whole.as_slice(), &[0]].concat();
    let mut swapped = whole.clone();
    let (first, chunk) = (20 + 4, 8 + (1 << 20));
    let (one, other) = swapped[first..].split_at_mut(chunk);
    one.swap_with_slice(&mut other[..chunk]);
    for wrong in [whole[..whole.len() - 1].to_vec(), whole[..24].to_vec(), longer, swapped] {
        disk.put(&snapshot.path(), wrong);
        disk.crash(0);
        assert!(matches!(open(&disk), Err(OpenError::Corrupt { .. })));
    }
}

#[test]
fn damage_while_it_is_open_is_an_error_before_a_damaged_byte_is_given_out() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let snapshot = write(&open(&disk).unwrap(), "meta", &large()).unwrap();
    disk.flip(&snapshot.path(), 1_500_000, 1).unwrap();
    let mut data = Vec::new();
    let error = snapshot.reader().unwrap().read_to_end(&mut data).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(data, large()[..1 << 20]);
}

#[test]
fn a_streamed_copy_is_equal_and_a_damaged_one_is_refused() {
    let leader = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let snapshot = write(&open(&leader).unwrap(), "meta", &large()).unwrap();
    for damaged in [None, Some(700_000)] {
        let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
        let store = open(&disk).unwrap();
        let mut receiver = store.receive(snapshot.meta.clone()).unwrap();
        while receiver.received() < snapshot.len {
            let offset = receiver.received();
            let mut bytes = snapshot.read_raw(offset, 100_000).unwrap().to_vec();
            if damaged == Some(offset) {
                bytes[5] ^= 1;
            }
            receiver.write_raw(offset, &bytes).unwrap();
        }
        assert!(receiver.write_raw(snapshot.len + 1, b"behind a hole").is_err());
        let finished = receiver.finish();
        if damaged.is_some() {
            assert_eq!(finished.unwrap_err().kind(), io::ErrorKind::InvalidData);
            assert!(store.latest().is_none());
            assert_eq!(disk.list(dir()).unwrap(), Vec::<PathBuf>::new());
        } else {
            assert_eq!(read(&finished.unwrap()), large());
        }
    }
}

#[test]
fn a_stream_of_another_snapshot_than_announced_is_refused() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let store = open(&disk).unwrap();
    let snapshot = write(&store, "meta", b"data").unwrap();
    let mut receiver = store.receive(Bytes::from("another")).unwrap();
    receiver.write_raw(0, &snapshot.read_raw(0, 1000).unwrap()).unwrap();
    assert!(receiver.finish().is_err());
    assert_eq!(store.latest().unwrap().meta, "meta");
}

#[test]
fn a_finished_snapshot_that_is_not_kept_changes_nothing() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let store = open(&disk).unwrap();
    let ours = write(&store, "ours", b"data").unwrap();
    let mut receiver = store.receive(ours.meta.clone()).unwrap();
    receiver.write_raw(0, &ours.read_raw(0, 1000).unwrap()).unwrap();
    let older = receiver.finish().unwrap();
    assert_eq!(read(&older), b"data");
    assert_eq!(store.latest().unwrap().path(), ours.path());
    drop(older);
    assert_eq!(disk.list(dir()).unwrap(), [ours.path()]);
    store.keep(&ours).unwrap();
    write(&store, "newer", b"").unwrap();
    assert!(store.keep(&ours).is_err(), "it is gone");
}

#[test]
fn a_failed_sync_leaves_the_old_snapshot() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let store = open(&disk).unwrap();
    write(&store, "old", b"old data").unwrap();
    disk.fail_sync_after(0);
    assert!(write(&store, "new", b"new data").is_err());
    assert_eq!(store.latest().unwrap().meta, "old");
}

#[test]
fn the_file_is_these_bytes() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let snapshot = write(&open(&disk).unwrap(), "meta", b"data").unwrap();
    assert_eq!(snapshot.path(), dir().join("00000000000000000002.snapshot"));
    let golden: [&[u8]; 6] = [
        b"RAFTSNAP\x01\0\0\0\x04\0\0\0",
        b"\xd3O\x8c\x92meta",
        b"\x04\0\0\0c\xf3\xf3\xaddata",
        b"\0\0\0\0_\x054q",
        b"\x04\0\0\0\0\0\0\0",
        b"c\xf3\xf3\xad",
    ];
    assert_eq!(disk.durable(&snapshot.path()).unwrap(), golden.concat());
}
