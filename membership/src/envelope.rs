//! What is around gossip on its way: a seal, or the name of the cluster alone.
//!
//! ```text
//! sealed   1 │ key id u8 │ stream 16 │ number u64 │ ciphertext of: sent_ms u64, gossip │ tag 16
//! plain    2 │ cluster u64 │ stream 16 │ number u64 │ gossip
//! ```
//!
//! Integers are big-endian. The seal is XChaCha20-Poly1305; its nonce is the stream and the number, so it
//! never repeats while a stream is one life's alone. The associated data is the version, the key id and
//! the name of the cluster. In both, what has a stream and number that were seen is dropped. A further
//! copy has 128 added to its first byte; that is not sealed, and decides nothing but what is counted.

use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce, aead::AeadInOut};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    Identity, Keyring,
    replay::{ReplayWindow, SKEW_MS_MAX, Stream},
};

/// What a seal adds to a datagram, bytes.
pub(crate) const SEAL_BYTES: usize = 2 + NONCE_BYTES + SENT_BYTES + TAG_BYTES;

const SEALED: u8 = 1;
const PLAIN: u8 = 2;
/// Marks a copy.
const COPY: u8 = 128;
const NONCE_BYTES: usize = 24;
const SENT_BYTES: usize = 8;
const TAG_BYTES: usize = 16;

/// Closes and opens one member's datagrams.
pub(crate) struct Envelope {
    kind: Kind,
    stream: Stream,
    /// The number of the last datagram that was closed.
    number: u64,
    window: ReplayWindow,
}

enum Kind {
    /// The first key seals.
    Sealed(Vec<SealingKey>),
    /// The checksum of the cluster's name.
    Plain(u64),
}

struct SealingKey {
    cipher: XChaCha20Poly1305,
    id: u8,
    associated: Vec<u8>,
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is too short, or of another kind or version.
    Malformed,
    /// No key opens it, or it is of another cluster.
    Unopened,
    /// It was sent too long ago, or by a clock that is ahead.
    Stale,
    /// It was seen before.
    Replayed,
    /// It was seen before, and says itself that it is a copy.
    Copy,
}

/// A copy of a datagram, to send again.
pub(crate) fn copy(datagram: &[u8]) -> Vec<u8> {
    let mut copy = datagram.to_vec();
    copy[0] |= COPY;
    copy
}

impl Envelope {
    /// For one life. `seed` chooses the stream together with what tells this life from others: lives
    /// that differ in any of these have nonces of their own.
    pub(crate) fn new(
        cluster: &str,
        keyring: Option<&Keyring>,
        identity: &Identity,
        seed: u64,
    ) -> Self {
        let kind = match keyring {
            Some(keyring) => {
                let sealing = |key| SealingKey::new(key, cluster);
                Kind::Sealed(keyring.keys().iter().map(sealing).collect())
            }
            None => Kind::Plain(checksum(cluster)),
        };
        Self { kind, stream: stream(identity, seed), number: 0, window: ReplayWindow::default() }
    }

    /// The id of the key that seals; it does not tell the key.
    pub(crate) fn key_id(&self) -> Option<u8> {
        match &self.kind {
            Kind::Sealed(keys) => keys.first().map(|key| key.id),
            Kind::Plain(_) => None,
        }
    }

    /// A datagram to send.
    pub(crate) fn close(&mut self, gossip: &[u8], wall_ms: u64) -> Vec<u8> {
        self.number += 1;
        let mut nonce = [0; NONCE_BYTES];
        nonce[..16].copy_from_slice(&self.stream);
        nonce[16..].copy_from_slice(&self.number.to_be_bytes());
        let mut datagram = Vec::with_capacity(SEAL_BYTES + gossip.len());
        match &self.kind {
            Kind::Sealed(keys) => {
                let key = &keys[0];
                datagram.extend_from_slice(&[SEALED, key.id]);
                datagram.extend_from_slice(&nonce);
                datagram.extend_from_slice(&wall_ms.to_be_bytes());
                datagram.extend_from_slice(gossip);
                let tag = key.seal(&nonce, &mut datagram[2 + NONCE_BYTES..]);
                datagram.extend_from_slice(&tag);
            }
            Kind::Plain(cluster) => {
                datagram.push(PLAIN);
                datagram.extend_from_slice(&cluster.to_be_bytes());
                datagram.extend_from_slice(&nonce);
                datagram.extend_from_slice(gossip);
            }
        }
        datagram
    }

    /// The gossip of a datagram that came. It is deciphered in place.
    pub(crate) fn open<'a>(
        &mut self,
        datagram: &'a mut [u8],
        wall_ms: u64,
    ) -> Result<&'a [u8], Refusal> {
        let Self { kind, window, .. } = self;
        let (first, rest) = datagram.split_first_mut().ok_or(Refusal::Malformed)?;
        let seen = if *first & COPY == 0 { Refusal::Replayed } else { Refusal::Copy };
        match (kind, *first & !COPY) {
            (Kind::Sealed(keys), SEALED) => {
                let sealed = Sealed::split(rest).ok_or(Refusal::Malformed)?;
                let (stream, number) = stream_and_number(&sealed.nonce);
                if !window.is_new(&stream, number) {
                    return Err(seen);
                }
                let (sent_ms, gossip) = sealed.open(keys)?;
                if sent_ms.abs_diff(wall_ms) > SKEW_MS_MAX {
                    return Err(Refusal::Stale);
                }
                let is_taken = window.remember(&stream, number, sent_ms, wall_ms);
                is_taken.then_some(gossip).ok_or(seen)
            }
            (Kind::Plain(cluster), PLAIN) => {
                let plain = Plain::split(rest).ok_or(Refusal::Malformed)?;
                if plain.cluster != *cluster {
                    return Err(Refusal::Unopened);
                }
                let (stream, number) = stream_and_number(&plain.nonce);
                let is_taken = window.is_new(&stream, number)
                    && window.remember(&stream, number, wall_ms, wall_ms);
                is_taken.then_some(plain.gossip).ok_or(seen)
            }
            _ => Err(Refusal::Malformed),
        }
    }
}

/// The parts of a plain datagram, behind its first byte.
struct Plain<'a> {
    cluster: u64,
    nonce: [u8; NONCE_BYTES],
    gossip: &'a [u8],
}

impl<'a> Plain<'a> {
    fn split(rest: &'a [u8]) -> Option<Self> {
        let (cluster, rest) = rest.split_first_chunk()?;
        let (nonce, gossip) = rest.split_first_chunk()?;
        Some(Self { cluster: u64::from_be_bytes(*cluster), nonce: *nonce, gossip })
    }
}

/// The parts of a sealed datagram, behind its first byte.
struct Sealed<'a> {
    key_id: u8,
    nonce: [u8; NONCE_BYTES],
    ciphertext: &'a mut [u8],
    tag: [u8; TAG_BYTES],
}

impl<'a> Sealed<'a> {
    fn split(rest: &'a mut [u8]) -> Option<Self> {
        let (key_id, rest) = rest.split_first_mut()?;
        let (nonce, rest) = rest.split_first_chunk_mut()?;
        let (ciphertext, tag) = rest.split_last_chunk_mut()?;
        let is_whole = ciphertext.len() >= SENT_BYTES;
        is_whole.then_some(Self { key_id: *key_id, nonce: *nonce, ciphertext, tag: *tag })
    }

    /// When it was sent, and the gossip. A key that does not fit leaves the ciphertext as it is.
    fn open(self, keys: &[SealingKey]) -> Result<(u64, &'a [u8]), Refusal> {
        let Self { key_id, nonce, ciphertext, tag } = self;
        let mut fitting = keys.iter().filter(|key| key.id == key_id);
        if !fitting.any(|key| key.unseal(&nonce, ciphertext, &tag)) {
            return Err(Refusal::Unopened);
        }
        let (sent_ms, gossip) =
            ciphertext.split_first_chunk::<SENT_BYTES>().expect("split looked at the length");
        Ok((u64::from_be_bytes(*sent_ms), gossip))
    }
}

impl SealingKey {
    fn new(key: &[u8; 32], cluster: &str) -> Self {
        let cipher = XChaCha20Poly1305::new(key.into());
        let id = key_id(&cipher);
        let associated = [&[SEALED, id], cluster.as_bytes()].concat();
        Self { cipher, id, associated }
    }

    fn seal(&self, nonce: &[u8; NONCE_BYTES], text: &mut [u8]) -> Tag {
        self.cipher
            .encrypt_inout_detached(&XNonce::from(*nonce), &self.associated, text.into())
            .expect("a datagram is shorter than the cipher's 256 GiB")
    }

    fn unseal(&self, nonce: &[u8; NONCE_BYTES], text: &mut [u8], tag: &[u8; TAG_BYTES]) -> bool {
        let (nonce, tag) = (XNonce::from(*nonce), Tag::from(*tag));
        self.cipher.decrypt_inout_detached(&nonce, &self.associated, text.into(), &tag).is_ok()
    }
}

/// A byte that tells keys apart, the same in every ring: of the tag of nothing, under the nonce of the
/// number 0, which no datagram has.
fn key_id(cipher: &XChaCha20Poly1305) -> u8 {
    let tag = cipher
        .encrypt_inout_detached(&XNonce::default(), b"key id", (&mut [][..]).into())
        .expect("nothing is short enough");
    tag[0]
}

/// The seed's 8 bytes, the incarnation, and the address: three things that would all have to repeat.
fn stream(identity: &Identity, seed: u64) -> Stream {
    let mut whole = [0; 32];
    whole[..8].copy_from_slice(&seed.to_be_bytes());
    whole[8..16].copy_from_slice(&identity.incarnation().to_be_bytes());
    let ip = match identity.address().ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        std::net::IpAddr::V6(ip) => ip,
    };
    whole[16..].copy_from_slice(&ip.octets());
    for (byte, port) in whole[16..].iter_mut().zip(identity.address().port().to_be_bytes()) {
        *byte ^= port;
    }
    let mut stream = Stream::default();
    StdRng::from_seed(whole).fill_bytes(&mut stream);
    stream
}

fn stream_and_number(nonce: &[u8; NONCE_BYTES]) -> (Stream, u64) {
    let (stream, number) = nonce.split_first_chunk::<16>().expect("a nonce has 24 bytes");
    (*stream, u64::from_be_bytes(number.try_into().expect("8 are left")))
}

/// FNV-1a, 64 bits: against mistakes, not against anybody.
fn checksum(cluster: &str) -> u64 {
    cluster.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
