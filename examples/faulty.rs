//! `queue` over a disk that holds back what was not synced, so that `kill -9` is a power cut: at the
//! kill it is lost, kept in part, or torn, as the seed in `QUORATE_FAULTY_DISK` has it.

use std::{process::ExitCode, sync::Arc};

use raft::disk::{Loss, OsDisk, StagedDisk};

fn main() -> ExitCode {
    let seed = std::env::var("QUORATE_FAULTY_DISK").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_default();
    // Each start differs, and each voter: the process id is drawn in.
    let seed = seed.wrapping_add(u64::from(std::process::id()));
    let loss = [Loss::Lose, Loss::Keep, Loss::Tear][usize::try_from(seed % 3).unwrap_or_default()];
    quorate::cli::main_over(Arc::new(StagedDisk::new(Arc::new(OsDisk), loss, seed)))
}
