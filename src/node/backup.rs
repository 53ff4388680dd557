//! A copy of the whole queue at one revision, as a stream: what `queue backup` keeps.
//!
//! ```text
//! ┌───────────────┬────────────┬────────────────────┬────────────┬───────────┬───────────────┐
//! │ "QUEUEBAK"  8 │ format u16 │ queue snapshot     │ length u64 │ crc32 u32 │ "BAKENDOK"  8 │  little-endian
//! └───────────────┴────────────┴────────────────────┴────────────┴───────────┴───────────────┘
//! ```
//! The length and the checksum are of all that stands before them, so what was torn, cut or changed on
//! its way is recognised. The snapshot is that of `snapshot.rs`.

use std::{
    io::{self, Write},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Consistency, Handle, Reason, Unavailable, snapshot};
use crate::queue::{Image, Rev, State};

const MAGIC: &[u8; 8] = b"QUEUEBAK";
/// The layout of a backup.
const BACKUP_FORMAT: u16 = 1;
const END: &[u8; 8] = b"BAKENDOK";
const HEAD_BYTES: usize = MAGIC.len() + size_of::<u16>();
const TRAILER_BYTES: usize = size_of::<u64>() + size_of::<u32>() + END.len();
/// The largest piece, bytes, and how many of them wait for who takes them: what a backup that nobody
/// takes costs beside the state that it holds.
const PIECE_BYTES: usize = 256 << 10;
const PIECES_MAX: usize = 4;
/// What who comes while another backup is being taken is told to wait, ms.
const RETRY_AFTER_MS: u64 = 5_000;

/// A backup on its way. Dropped, it ends.
#[derive(Debug)]
pub struct Backup {
    rev: Rev,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
}

impl Backup {
    /// The revision that it holds.
    pub fn rev(&self) -> Rev {
        self.rev
    }

    /// The next piece; `None` at the end. After an error there is no further one, and what came is no
    /// backup.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.pieces.poll_recv(context)
    }
}

impl Handle {
    /// Copies the queue as this replica has it after every write acknowledged before the call. The
    /// copy is read from the state as it stood then, which costs memory only for what changes
    /// meanwhile. One at a time.
    ///
    /// # Errors
    /// As [`Handle::read`]; [`Reason::Overloaded`] while another one is being taken.
    pub async fn backup(&self, hold: Duration) -> Result<Backup, Unavailable> {
        let place = Arc::clone(&self.node().backups).try_acquire_owned();
        let overloaded = Reason::Overloaded { retry_after_ms: RETRY_AFTER_MS };
        let place = place.map_err(|_| Unavailable::NotApplied(overloaded))?;
        let frozen = self.read(Consistency::Linearizable, hold, State::freeze).await?;
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        self.node().runtime.spawn_blocking(move || {
            if let Err(error) = write(&frozen.value, Sealed::new(sender.clone())) {
                // Nobody hears it who has gone, and who has not must not take what came for whole.
                drop(sender.blocking_send(Err(error)));
            }
            drop(place);
        });
        Ok(Backup { rev: frozen.rev, pieces })
    }
}

fn write(image: &Image, mut out: Sealed) -> io::Result<()> {
    out.write_all(MAGIC)?;
    out.write_all(&BACKUP_FORMAT.to_le_bytes())?;
    snapshot::write(image, &mut out)?;
    out.seal()
}

/// What is written, in pieces, with its length and checksum so far.
struct Sealed {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    length: u64,
    checksum: crc32fast::Hasher,
}

impl Sealed {
    fn new(pieces: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self { pieces, length: 0, checksum: crc32fast::Hasher::new() }
    }

    fn seal(self) -> io::Result<()> {
        let mut trailer = Vec::with_capacity(TRAILER_BYTES);
        trailer.extend(self.length.to_le_bytes());
        trailer.extend(self.checksum.finalize().to_le_bytes());
        trailer.extend(END);
        send(&self.pieces, trailer.into())
    }
}

impl Write for Sealed {
    /// Blocks until there is room; fails when nobody takes the pieces any more.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        self.checksum.update(piece);
        self.length += piece.len() as u64;
        send(&self.pieces, Bytes::copy_from_slice(piece)).map(|()| piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn send(pieces: &mpsc::Sender<io::Result<Bytes>>, piece: Bytes) -> io::Result<()> {
    pieces.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
}

/// Why bytes are not a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BackupFault {
    /// It does not begin as one.
    #[error("it is not a backup of a queue")]
    NotABackup,
    /// Another version wrote it.
    #[error("it has format {found}, and this program knows {BACKUP_FORMAT}")]
    UnknownFormat {
        /// The format that it names.
        found: u16,
    },
    /// It has no end.
    #[error("it is not whole: its end is missing")]
    Torn,
    /// Its length or its checksum is wrong.
    #[error("it is damaged: its checksum does not fit")]
    Damaged,
}

/// Checks a backup while it goes by.
#[derive(Debug, Default)]
pub struct BackupCheck {
    head: Vec<u8>,
    /// What may be the trailer: never more than that between two pieces.
    tail: Vec<u8>,
    length: u64,
    checksum: crc32fast::Hasher,
}

impl BackupCheck {
    /// Takes the next bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        let head_bytes = bytes.len().min(HEAD_BYTES - self.head.len());
        self.head.extend(&bytes[..head_bytes]);
        self.tail.extend(bytes);
        let known = self.tail.len().saturating_sub(TRAILER_BYTES);
        self.checksum.update(&self.tail[..known]);
        self.length += known as u64;
        self.tail.drain(..known);
    }

    /// Judges what was taken; returns its length with its frame, bytes.
    ///
    /// # Errors
    /// [`BackupFault`]: it is not to be kept.
    pub fn finish(self) -> Result<u64, BackupFault> {
        let format = self.head.strip_prefix(MAGIC).ok_or(BackupFault::NotABackup)?;
        let format = format.try_into().map(u16::from_le_bytes);
        let found = format.map_err(|_| BackupFault::NotABackup)?;
        if found != BACKUP_FORMAT {
            return Err(BackupFault::UnknownFormat { found });
        }
        let trailer = self.tail.strip_suffix(END).ok_or(BackupFault::Torn)?;
        let (length, checksum) = trailer.split_at(size_of::<u64>());
        let fits = length == self.length.to_le_bytes()
            && checksum == self.checksum.finalize().to_le_bytes();
        fits.then_some(self.length + TRAILER_BYTES as u64).ok_or(BackupFault::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Vec<u8> {
        let (sender, mut pieces) = mpsc::channel(64);
        write(&State::default().freeze(), Sealed::new(sender)).unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.blocking_recv() {
            bytes.extend(piece.unwrap());
        }
        bytes
    }

    fn judged(bytes: &[u8], piece_bytes: usize) -> Result<u64, BackupFault> {
        let mut check = BackupCheck::default();
        bytes.chunks(piece_bytes).for_each(|piece| check.take(piece));
        check.finish()
    }

    #[test]
    fn a_whole_backup_passes_however_it_comes() {
        let bytes = backup();
        for piece_bytes in [1, 7, TRAILER_BYTES, bytes.len()] {
            assert_eq!(judged(&bytes, piece_bytes), Ok(bytes.len() as u64));
        }
    }

    #[test]
    fn a_backup_that_ends_early_anywhere_is_not_one() {
        let bytes = backup();
        for length in 0..bytes.len() {
            assert!(judged(&bytes[..length], 64).is_err(), "{length} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn no_changed_byte_passes() {
        let bytes = backup();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(judged(&changed, 64).is_err(), "byte {place}");
        }
        let longer = [&bytes[..], b"!"].concat();
        assert_eq!(judged(&longer, 64), Err(BackupFault::Torn));
    }

    #[test]
    fn the_frame_of_a_backup_does_not_change() {
        let bytes = backup();
        assert_eq!(&bytes[..HEAD_BYTES], b"QUEUEBAK\x01\x00");
        assert_eq!(
            bytes[bytes.len() - TRAILER_BYTES..][..8],
            (bytes.len() as u64 - 20).to_le_bytes()
        );
        assert!(bytes.ends_with(b"BAKENDOK"));
    }

    #[test]
    fn a_backup_that_nobody_takes_ends() {
        let (sender, pieces) = mpsc::channel(1);
        drop(pieces);
        let ended = write(&State::default().freeze(), Sealed::new(sender));
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
