//! The bytes of a datagram, inside the seal.
//!
//! ```text
//! header   version u8 = 1 │ length u16 │ src, src_incarnation, dst, message
//! tally    u16                                                    (foca writes it)
//! member   length u16 │ id, incarnation, state                    (tally times)
//! rest     broadcasts                                             (foca frames them)
//! ```
//!
//! `length` and `tally` are big-endian; an item is bincode with fixed-width little-endian integers.
//! The length makes each item a slice of its own, so that it is decoded whole or not at all. The tags of
//! the enums below are part of the format and stay as they are; `tests` holds the golden bytes.

use bincode::Options as _;
use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, State};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Identity;

/// The version of this layout.
const VERSION: u8 = 1;

/// The longest item, bytes. An identity takes at most 8 + 128 (name) + 4 + 16 + 2 (address) + 8
/// (incarnation) = 166, and a header has three, 2 for its incarnation, and 5 for its message: 505.
const ITEM_BYTES_MAX: usize = 512;

/// Encodes and decodes what foca sends.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Codec;

/// Why an item was not encoded or decoded. When encoding, the buffer is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    /// The datagram has no room left for the item.
    #[error("the datagram has no room for the item")]
    Full,
    /// The bytes end before the item does.
    #[error("the datagram ends inside an item")]
    Truncated,
    /// A layout of another version.
    #[error("gossip of version {0} is not understood")]
    Version(u8),
    /// The item claims to be longer than any is.
    #[error("an item of {0} bytes is too long")]
    TooLong(usize),
    /// The item is not what it should be.
    #[error("malformed item: {0}")]
    Malformed(#[from] bincode::Error),
}

#[derive(Serialize, Deserialize)]
struct HeaderV1 {
    src: Identity,
    src_incarnation: u16,
    dst: Identity,
    message: MessageV1,
}

/// Tags, in this order from 0, are part of the format.
#[derive(Serialize, Deserialize)]
enum MessageV1 {
    Ping(u8),
    Ack(u8),
    PingReq { target: Identity, probe_number: u8 },
    IndirectPing { origin: Identity, probe_number: u8 },
    IndirectAck { target: Identity, probe_number: u8 },
    ForwardedAck { origin: Identity, probe_number: u8 },
    Announce,
    Feed,
    Gossip,
    Broadcast,
    TurnUndead,
}

#[derive(Serialize, Deserialize)]
struct MemberV1 {
    id: Identity,
    incarnation: u16,
    state: StateV1,
}

/// Tags, in this order from 0, are part of the format.
#[derive(Serialize, Deserialize)]
enum StateV1 {
    Alive,
    Suspect,
    Down,
}

impl foca::Codec<Identity> for Codec {
    type Error = CodecError;

    fn encode_header(
        &mut self,
        header: &Header<Identity>,
        mut buffer: impl BufMut,
    ) -> Result<(), CodecError> {
        let item = encode(&HeaderV1::from(header))?;
        if buffer.remaining_mut() < 3 + item.len() {
            return Err(CodecError::Full);
        }
        buffer.put_u8(VERSION);
        put_item(&item, &mut buffer)
    }

    fn decode_header(&mut self, mut buffer: impl Buf) -> Result<Header<Identity>, CodecError> {
        match buffer.try_get_u8() {
            Ok(VERSION) => take_item::<HeaderV1>(&mut buffer).map(Header::from),
            Ok(version) => Err(CodecError::Version(version)),
            Err(_) => Err(CodecError::Truncated),
        }
    }

    fn encode_member(
        &mut self,
        member: &Member<Identity>,
        mut buffer: impl BufMut,
    ) -> Result<(), CodecError> {
        put_item(&encode(&MemberV1::from(member))?, &mut buffer)
    }

    fn decode_member(&mut self, mut buffer: impl Buf) -> Result<Member<Identity>, CodecError> {
        take_item::<MemberV1>(&mut buffer).map(Member::from)
    }
}

fn options() -> impl bincode::Options {
    let limit = ITEM_BYTES_MAX as u64;
    bincode::DefaultOptions::new().with_fixint_encoding().with_limit(limit).reject_trailing_bytes()
}

fn encode(item: &impl Serialize) -> Result<Vec<u8>, CodecError> {
    Ok(options().serialize(item)?)
}

/// Writes the item whole, or nothing.
fn put_item(item: &[u8], buffer: &mut impl BufMut) -> Result<(), CodecError> {
    if buffer.remaining_mut() < 2 + item.len() {
        return Err(CodecError::Full);
    }
    let length = u16::try_from(item.len()).map_err(|_| CodecError::TooLong(item.len()))?;
    buffer.put_u16(length);
    buffer.put_slice(item);
    Ok(())
}

/// Reads one item and moves past it. foca hands in a datagram, which is one slice.
fn take_item<T: DeserializeOwned>(buffer: &mut impl Buf) -> Result<T, CodecError> {
    let length = usize::from(buffer.try_get_u16().map_err(|_| CodecError::Truncated)?);
    if length > ITEM_BYTES_MAX {
        return Err(CodecError::TooLong(length));
    }
    let item = buffer.chunk().get(..length).ok_or(CodecError::Truncated)?;
    let item = options().deserialize(item)?;
    buffer.advance(length);
    Ok(item)
}

impl From<&Header<Identity>> for HeaderV1 {
    fn from(header: &Header<Identity>) -> Self {
        Self {
            src: header.src.clone(),
            src_incarnation: header.src_incarnation,
            dst: header.dst.clone(),
            message: MessageV1::from(&header.message),
        }
    }
}

impl From<HeaderV1> for Header<Identity> {
    fn from(header: HeaderV1) -> Self {
        Self {
            src: header.src,
            src_incarnation: header.src_incarnation,
            dst: header.dst,
            message: header.message.into(),
        }
    }
}

impl From<&Message<Identity>> for MessageV1 {
    fn from(message: &Message<Identity>) -> Self {
        match message.clone() {
            Message::Ping(number) => Self::Ping(number),
            Message::Ack(number) => Self::Ack(number),
            Message::PingReq { target, probe_number } => Self::PingReq { target, probe_number },
            Message::IndirectPing { origin, probe_number } => {
                Self::IndirectPing { origin, probe_number }
            }
            Message::IndirectAck { target, probe_number } => {
                Self::IndirectAck { target, probe_number }
            }
            Message::ForwardedAck { origin, probe_number } => {
                Self::ForwardedAck { origin, probe_number }
            }
            Message::Announce => Self::Announce,
            Message::Feed => Self::Feed,
            Message::Gossip => Self::Gossip,
            Message::Broadcast => Self::Broadcast,
            Message::TurnUndead => Self::TurnUndead,
        }
    }
}

impl From<MessageV1> for Message<Identity> {
    fn from(message: MessageV1) -> Self {
        match message {
            MessageV1::Ping(number) => Self::Ping(number),
            MessageV1::Ack(number) => Self::Ack(number),
            MessageV1::PingReq { target, probe_number } => Self::PingReq { target, probe_number },
            MessageV1::IndirectPing { origin, probe_number } => {
                Self::IndirectPing { origin, probe_number }
            }
            MessageV1::IndirectAck { target, probe_number } => {
                Self::IndirectAck { target, probe_number }
            }
            MessageV1::ForwardedAck { origin, probe_number } => {
                Self::ForwardedAck { origin, probe_number }
            }
            MessageV1::Announce => Self::Announce,
            MessageV1::Feed => Self::Feed,
            MessageV1::Gossip => Self::Gossip,
            MessageV1::Broadcast => Self::Broadcast,
            MessageV1::TurnUndead => Self::TurnUndead,
        }
    }
}

impl From<&Member<Identity>> for MemberV1 {
    fn from(member: &Member<Identity>) -> Self {
        let state = match member.state() {
            State::Alive => StateV1::Alive,
            State::Suspect => StateV1::Suspect,
            State::Down => StateV1::Down,
        };
        Self { id: member.id().clone(), incarnation: member.incarnation(), state }
    }
}

impl From<MemberV1> for Member<Identity> {
    fn from(member: MemberV1) -> Self {
        let state = match member.state {
            StateV1::Alive => State::Alive,
            StateV1::Suspect => State::Suspect,
            StateV1::Down => State::Down,
        };
        Self::new(member.id, member.incarnation, state)
    }
}

#[cfg(test)]
mod tests;
