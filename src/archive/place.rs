//! The directory: opened, or set aside when what is in it is damaged.
//!
//! Two files in it beside sled's are ours. `opening` has a byte for each opening that did not come to
//! its end: after two, whatever ended them (the machine may have been out of memory, as damaged lengths
//! ask for) is not tried a third time. `failed` says why it was given up while it was in use.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use super::{
    failure::Failure,
    store::{Store, Totals},
};

const OPENING: &str = "opening";
const FAILED: &str = "failed";
/// After so many openings that did not end, another is not tried.
const OPENINGS_MAX: u64 = 2;

/// Opens the archive in `directory`. One that is damaged is renamed to `<directory>.damaged`, in the
/// place of an older one, and a fresh one is begun.
pub(super) fn open(
    directory: &Path,
    unreadable: &Arc<AtomicU64>,
) -> Result<(Store, Totals), Failure> {
    let opened = match suspicion(directory) {
        Some(reason) => Err(Failure::Damaged(reason)),
        None => try_open(directory, unreadable),
    };
    match opened {
        Err(Failure::Damaged(reason)) => {
            let aside = set_aside(directory)?;
            tracing::warn!(
                reason,
                aside = %aside.display(),
                "the archive of finished jobs is damaged and set aside; the history begins anew"
            );
            try_open(directory, unreadable)
        }
        other => other,
    }
}

/// Notes that the files are not to be opened again.
pub(super) fn condemn(directory: &Path, reason: &str) {
    // Without the note the next opening finds out by itself.
    let _ = fs::write(directory.join(FAILED), reason);
}

fn try_open(directory: &Path, unreadable: &Arc<AtomicU64>) -> Result<(Store, Totals), Failure> {
    if !directory.exists() {
        tracing::info!(directory = %directory.display(), "an archive of finished jobs is begun");
    }
    let failed = |error| Failure::of_io("cannot make it", &error);
    fs::create_dir_all(directory).map_err(failed)?;
    let opening = directory.join(OPENING);
    note(&opening).map_err(failed)?;
    let opened = Store::open(directory, Arc::clone(unreadable))?;
    fs::remove_file(&opening).map_err(failed)?;
    Ok(opened)
}

/// One more byte, on the disk before the opening begins.
fn note(opening: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(opening)?;
    file.write_all(b".")?;
    file.sync_all()
}

/// Takes the note of this opening back: the process ends before it, for reasons of its own.
pub(super) fn excuse(directory: &Path) {
    let file = OpenOptions::new().write(true).open(directory.join(OPENING));
    // Without that, a further one like it puts the archive aside: it may be lost.
    let _ = file.and_then(|file| {
        let openings = file.metadata()?.len();
        file.set_len(openings.saturating_sub(1))
    });
}

/// Why not to open what is there, if there is a reason.
fn suspicion(directory: &Path) -> Option<String> {
    if let Ok(reason) = fs::read_to_string(directory.join(FAILED)) {
        return Some(format!("it was given up: {reason}"));
    }
    let openings = fs::metadata(directory.join(OPENING)).map_or(0, |opening| opening.len());
    (openings >= OPENINGS_MAX).then(|| format!("{openings} openings of it did not end"))
}

fn set_aside(directory: &Path) -> Result<PathBuf, Failure> {
    let mut name = directory.as_os_str().to_owned();
    name.push(".damaged");
    let aside = PathBuf::from(name);
    let failed = |error| Failure::of_io("cannot set it aside", &error);
    remove(&aside).map_err(failed)?;
    match fs::rename(directory, &aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
        Ok(()) | Err(_) => Ok(aside),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests;
