//! The bytes of a snapshot file: see the drawing in the module's text.

use std::io;

use bytes::{Buf, Bytes};

use crate::{File, disk::read_exact_at};

const MAGIC: &[u8; 8] = b"RAFTSNAP";
const VERSION: u32 = 1;
/// Bytes before the meta.
const HEADER_PREFIX: usize = 8 + 4 + 4 + 4;
/// Bytes before a chunk's data.
pub(super) const CHUNK_PREFIX: usize = 4 + 4;
/// Bytes of the trailer behind its own prefix, which looks like a chunk's.
const TRAILER_BODY: usize = 8 + 4;
/// The greatest data of one chunk, bytes.
pub(super) const CHUNK_BYTES_MAX: usize = 1 << 20;
/// The greatest meta, bytes.
pub(super) const META_BYTES_MAX: usize = 1 << 20;

/// The header of a snapshot with this `meta`, which is at most [`META_BYTES_MAX`].
pub(super) fn encode_header(meta: &[u8]) -> Vec<u8> {
    let version = VERSION.to_le_bytes();
    let length = length_u32(meta.len()).to_le_bytes();
    let checksum = header_checksum(version, length, meta).to_le_bytes();
    [MAGIC.as_slice(), &version, &length, &checksum, meta].concat()
}

/// One chunk, which is neither empty nor above [`CHUNK_BYTES_MAX`].
pub(super) fn encode_chunk(data: &[u8]) -> Vec<u8> {
    let length = length_u32(data.len()).to_le_bytes();
    [length.as_slice(), &crc32fast::hash(data).to_le_bytes(), data].concat()
}

/// The end of a snapshot.
pub(super) fn encode_trailer(total: u64, checksum: u32) -> Vec<u8> {
    let body = [total.to_le_bytes().as_slice(), &checksum.to_le_bytes()].concat();
    [[0; 4].as_slice(), &crc32fast::hash(&body).to_le_bytes(), &body].concat()
}

/// What stands where a chunk may.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Chunk(Vec<u8>),
    Trailer { total: u64, checksum: u32 },
}

/// The meta of the snapshot in `file` and where its chunks begin.
///
/// # Errors
/// `InvalidData`, with what is wrong, when there is no good header; and whatever the disk answered.
pub(super) fn read_header(file: &dyn File) -> io::Result<(Bytes, u64)> {
    let mut prefix = [0; HEADER_PREFIX];
    read_all(file, &mut prefix, 0)?;
    let (magic, mut rest) = prefix.split_at(MAGIC.len());
    let (version, length, checksum) = (rest.get_u32_le(), rest.get_u32_le(), rest.get_u32_le());
    if magic != MAGIC {
        return Err(damaged("it does not begin as a snapshot does"));
    }
    if version != VERSION {
        return Err(damaged("its format version is not one that this program knows"));
    }
    let meta_len = usize::try_from(length).unwrap_or(usize::MAX);
    if meta_len > META_BYTES_MAX {
        return Err(damaged("its header is longer than a header can be"));
    }
    let mut meta = vec![0; meta_len];
    read_all(file, &mut meta, HEADER_PREFIX as u64)?;
    if header_checksum(version.to_le_bytes(), length.to_le_bytes(), &meta) != checksum {
        return Err(damaged("the checksum of its header is wrong"));
    }
    Ok((meta.into(), (HEADER_PREFIX + meta_len) as u64))
}

/// The piece that begins at `offset`, and how many bytes it has.
///
/// # Errors
/// `InvalidData`, with what is wrong, when there is no good piece; and whatever the disk answered.
pub(super) fn read_piece(file: &dyn File, offset: u64) -> io::Result<(Piece, u64)> {
    let mut prefix = [0; CHUNK_PREFIX];
    read_all(file, &mut prefix, offset)?;
    let mut prefix = prefix.as_slice();
    let (length, checksum) = (prefix.get_u32_le(), prefix.get_u32_le());
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > CHUNK_BYTES_MAX {
        return Err(damaged("a chunk is longer than a chunk can be"));
    }
    let mut body = vec![0; if length == 0 { TRAILER_BODY } else { length }];
    read_all(file, &mut body, offset + CHUNK_PREFIX as u64)?;
    if crc32fast::hash(&body) != checksum {
        return Err(damaged("the checksum of a chunk is wrong"));
    }
    let size = (CHUNK_PREFIX + body.len()) as u64;
    if length > 0 {
        return Ok((Piece::Chunk(body), size));
    }
    let mut body = body.as_slice();
    Ok((Piece::Trailer { total: body.get_u64_le(), checksum: body.get_u32_le() }, size))
}

/// An error about bytes that are not what was written.
pub(super) fn damaged(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn read_all(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    match read_exact_at(file, buffer, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(damaged("it ends too early"))
        }
        result => result,
    }
}

fn header_checksum(version: [u8; 4], length: [u8; 4], meta: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&version);
    hasher.update(&length);
    hasher.update(meta);
    hasher.finalize()
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("chunks and metas are limited to 1 MiB where they come in")
}
