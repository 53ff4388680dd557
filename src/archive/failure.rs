//! What can go wrong with the files, and sled's panics made into it.

use std::{
    io::{self, ErrorKind},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Why the archive cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// What is in its files is not what was put there. They would fail again.
    #[error("its files are damaged: {0}")]
    Damaged(String),
    /// The operating system refuses: the files may be good.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// Of an error of the file system itself.
    pub(super) fn of_io(action: &str, error: &io::Error) -> Self {
        let text = format!("{action}: {error}");
        match error.kind() {
            // sled says `Other` when another process has the files open.
            ErrorKind::PermissionDenied
            | ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::Other => Self::Refused(text),
            _ => Self::Damaged(text),
        }
    }

    fn of_sled(error: &sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => Self::of_io("input or output failed", error),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Runs something of sled's, which may panic on files that are damaged. What it leaves behind after a
/// panic is used no more.
pub(super) fn guarded<T>(run: impl FnOnce() -> sled::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(done) => done.map_err(|error| Failure::of_sled(&error)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::Damaged(format!("sled panicked: {}", text.unwrap_or("without a word"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_and_a_corrupt_file_are_damage_and_a_full_disk_is_none() {
        let panicked = guarded(|| -> sled::Result<()> { panic!("page {} is gone", 7) });
        let text = "sled panicked: page 7 is gone".to_owned();
        assert_eq!(panicked, Err(Failure::Damaged(text)));
        for (kind, is_damage) in [
            (ErrorKind::UnexpectedEof, true),
            (ErrorKind::NotADirectory, true),
            (ErrorKind::StorageFull, false),
            (ErrorKind::PermissionDenied, false),
        ] {
            let failed = guarded(|| -> sled::Result<()> { Err(sled::Error::Io(kind.into())) });
            assert_eq!(matches!(failed, Err(Failure::Damaged(_))), is_damage, "{kind}");
        }
    }
}
