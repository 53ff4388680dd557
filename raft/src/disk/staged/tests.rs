use super::*;
use crate::disk::MemoryDisk;

const DIR: &str = "/dir";
const FILE: &str = "/dir/file";

fn content(disk: &dyn Disk) -> Vec<u8> {
    let file = disk.open(Path::new(FILE)).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    read_exact_at(file.as_ref(), &mut bytes, 0).unwrap();
    bytes
}

fn durable_file(loss: Loss, seed: u64) -> MemoryDisk {
    let disk = MemoryDisk::new(loss, seed);
    disk.put(Path::new(FILE), b"durable".to_vec());
    disk
}

#[test]
fn changes_are_seen_at_once_and_in_order() {
    for loss in [Loss::Lose, Loss::Keep, Loss::Tear] {
        let disk = durable_file(loss, 1);
        let file = disk.open(Path::new(FILE)).unwrap();
        file.write_at(b"xxxxx", 5).unwrap();
        file.set_len(8).unwrap();
        file.write_at(b"y", 10).unwrap();
        file.write_at(b"DU", 0).unwrap();
        assert_eq!(content(&disk), b"DUrabxxx\0\0y", "{loss:?}");
        let mut middle = [0; 4];
        assert_eq!(file.read_at(&mut middle, 4).unwrap(), 4);
        assert_eq!(&middle, b"bxxx");
        assert_eq!(file.read_at(&mut middle, 9).unwrap(), 2);
        file.sync_data().unwrap();
        disk.crash(2);
        assert_eq!(content(&disk), b"DUrabxxx\0\0y", "{loss:?}");
    }
}

#[test]
fn a_cut_loses_what_was_not_synced() {
    let disk = durable_file(Loss::Lose, 1);
    disk.open(Path::new(FILE)).unwrap().write_at(b"changed", 0).unwrap();
    disk.remove(Path::new(FILE)).unwrap();
    let other = disk.open(Path::new("/dir/other")).unwrap();
    other.write_at(b"synced without a name", 0).unwrap();
    other.sync_data().unwrap();
    assert_eq!(disk.list(Path::new(DIR)).unwrap(), [Path::new("/dir/other")]);
    disk.crash(2);
    assert_eq!(disk.list(Path::new(DIR)).unwrap(), [Path::new(FILE)]);
    assert_eq!(content(&disk), b"durable");
}

#[test]
fn a_synced_rename_brings_only_the_synced_content() {
    let disk = durable_file(Loss::Lose, 1);
    let other = disk.open(Path::new("/dir/other")).unwrap();
    other.write_at(b"synced", 0).unwrap();
    other.sync_data().unwrap();
    other.write_at(b" and not", 6).unwrap();
    disk.rename(Path::new("/dir/other"), Path::new(FILE)).unwrap();
    disk.sync_dir(Path::new(DIR)).unwrap();
    disk.crash(2);
    assert_eq!(disk.list(Path::new(DIR)).unwrap(), [Path::new(FILE)]);
    assert_eq!(content(&disk), b"synced");
}

#[test]
fn a_torn_write_survives_in_some_blocks_and_a_kept_one_whole_or_not_at_all() {
    let (mut torn, mut kept) = (0, 0);
    for seed in 0..40 {
        for loss in [Loss::Keep, Loss::Tear] {
            let disk = durable_file(loss, seed);
            disk.put(Path::new(FILE), vec![0; 2048]);
            disk.open(Path::new(FILE)).unwrap().write_at(&[1; 2048], 0).unwrap();
            disk.crash(0);
            let content = content(&disk);
            let blocks = content.chunks(BLOCK).filter(|block| block == &[1; BLOCK]).count();
            let zeros = content.chunks(BLOCK).filter(|block| block == &[0; BLOCK]).count();
            assert_eq!(blocks + zeros, 4, "each block is old or new");
            assert!(loss == Loss::Tear || blocks == 0 || blocks == 4);
            torn += usize::from(loss == Loss::Tear && blocks % 4 != 0);
            kept += usize::from(loss == Loss::Keep && blocks == 4);
        }
    }
    assert!(torn > 10 && (10..30).contains(&kept), "{torn} torn, {kept} kept");
}

#[test]
fn after_a_failed_sync_the_data_is_gone_and_the_next_sync_succeeds() {
    let disk = durable_file(Loss::Lose, 1);
    let file = disk.open(Path::new(FILE)).unwrap();
    disk.fail_sync_after(0);
    file.write_at(b"changed", 0).unwrap();
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    disk.crash(2);
    assert_eq!(content(&disk), b"durable");
}

#[test]
fn handles_from_before_a_cut_are_dead() {
    let disk = durable_file(Loss::Lose, 1);
    let file = disk.open(Path::new(FILE)).unwrap();
    disk.crash(2);
    assert!(file.write_at(b"changed", 0).is_err());
    assert!(file.sync_data().is_err());
    assert_eq!(content(&disk), b"durable");
}
