//! Opaque bytes of each member, spread by gossip.
//!
//! ```text
//! item     version u8 = 1 │ bincode of ItemV1: tag u32 │ fields
//! ```
//!
//! Integers inside an item are fixed-width and little-endian. A new bulletin spreads like a rumour. Who
//! joins later, or lost every copy, lacks it and asks its author, who answers that member alone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bincode::Options as _;
use bytes::Bytes;
use foca::{BroadcastHandler, Invalidates};
use serde::{Deserialize, Serialize};

use crate::{
    Identity,
    identity::{InvalidIdentity, NAME_BYTES_MAX},
    member::METADATA_BYTES_MAX,
};

/// The version of this layout.
const VERSION: u8 = 1;

/// The longest item, bytes: version, tag, length and name, incarnation, version, length and bytes.
pub(crate) const ITEM_BYTES_MAX: usize =
    1 + 4 + (8 + NAME_BYTES_MAX) + 8 + 8 + (8 + METADATA_BYTES_MAX);

/// The most bulletins that are kept. Beyond it those of members that nobody knows make room.
const BULLETINS_MAX: usize = 4096;

/// The most members that are answered in one turn; the others ask again.
const ASKED_MAX: usize = 64;

/// What one life of a member published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bulletin {
    pub(crate) name: Arc<str>,
    pub(crate) edition: Edition,
    pub(crate) bytes: Bytes,
}

/// Which of a member's bulletins: the greater one counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edition {
    /// The life that published it.
    pub(crate) incarnation: u64,
    /// Counts within that life, from 1; 0 is before the first.
    pub(crate) version: u64,
}

/// Why an item was not understood. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ItemError {
    #[error("an item of version {0} is not understood")]
    Version(u8),
    #[error("an empty item")]
    Empty,
    #[error("malformed item: {0}")]
    Malformed(#[from] bincode::Error),
    #[error(transparent)]
    Name(#[from] InvalidIdentity),
    #[error("{0} bytes of metadata are too many")]
    TooLong(usize),
}

/// Tags, in this order from 0, are part of the format.
#[derive(Debug, Serialize, Deserialize)]
enum ItemV1<'a> {
    Bulletin {
        name: &'a str,
        incarnation: u64,
        version: u64,
        bytes: &'a [u8],
    },
    /// "I have this edition of yours": who has a greater one answers.
    Request {
        incarnation: u64,
        version: u64,
    },
}

impl Bulletin {
    pub(crate) fn of(identity: &Identity, version: u64, bytes: Bytes) -> Self {
        let edition = Edition { incarnation: identity.incarnation(), version };
        Self { name: identity.shared_name(), edition, bytes }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let Edition { incarnation, version } = self.edition;
        encode(&ItemV1::Bulletin { name: &self.name, incarnation, version, bytes: &self.bytes })
    }
}

/// The item that asks a member for what is later than `known`.
pub(crate) fn encode_request(known: Edition) -> Vec<u8> {
    encode(&ItemV1::Request { incarnation: known.incarnation, version: known.version })
}

fn encode(item: &ItemV1<'_>) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    options().serialize_into(&mut bytes, item).expect("an item is plain and within its limits");
    bytes
}

fn decode(item: &[u8]) -> Result<ItemV1<'_>, ItemError> {
    match item.split_first() {
        Some((&VERSION, rest)) => Ok(options().deserialize(rest)?),
        Some((&version, _)) => Err(ItemError::Version(version)),
        None => Err(ItemError::Empty),
    }
}

fn options() -> impl bincode::Options {
    let limit = ITEM_BYTES_MAX as u64;
    bincode::DefaultOptions::new().with_fixint_encoding().with_limit(limit).reject_trailing_bytes()
}

/// The latest bulletin of each name. foca owns one handle, and gives each item that it receives to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bulletins(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    latest: BTreeMap<Arc<str>, Bulletin>,
    /// Those that came since they were last taken.
    fresh: Vec<Bulletin>,
    /// Who asked for this member's, and what they have of it.
    asked: Vec<(Identity, Edition)>,
}

impl Bulletins {
    /// What this very life published last.
    pub(crate) fn of(&self, identity: &Identity) -> Option<Bytes> {
        let board = self.board();
        let bulletin = board.latest.get(identity.name())?;
        let is_its = bulletin.edition.incarnation == identity.incarnation();
        is_its.then(|| bulletin.bytes.clone())
    }

    /// The latest edition under this name; the first of all if there is none.
    pub(crate) fn edition(&self, name: &str) -> Edition {
        self.board().latest.get(name).map_or_else(Edition::default, |bulletin| bulletin.edition)
    }

    pub(crate) fn take_fresh(&self) -> Vec<Bulletin> {
        std::mem::take(&mut self.board().fresh)
    }

    pub(crate) fn take_asked(&self) -> Vec<(Identity, Edition)> {
        std::mem::take(&mut self.board().asked)
    }

    /// Drops those whose members are not known, if there are too many.
    pub(crate) fn shrink(&self, is_known: impl Fn(&str) -> bool) {
        let mut board = self.board();
        if board.latest.len() > BULLETINS_MAX {
            board.latest.retain(|name, _| is_known(name));
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// Whether it is later than what is there; then it is kept.
    fn on_bulletin(&mut self, bulletin: Bulletin) -> bool {
        let known = self.latest.get(&bulletin.name).map(|known| known.edition);
        let has_room = known.is_some() || self.latest.len() <= BULLETINS_MAX;
        if !has_room || known.is_some_and(|known| known >= bulletin.edition) {
            return false;
        }
        self.latest.insert(bulletin.name.clone(), bulletin.clone());
        self.fresh.push(bulletin);
        true
    }
}

/// Whose bulletin, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    name: Arc<str>,
    edition: Edition,
}

impl Invalidates for Key {
    fn invalidates(&self, other: &Self) -> bool {
        self.name == other.name && self.edition >= other.edition
    }
}

impl BroadcastHandler<Identity> for Bulletins {
    type Key = Key;
    type Error = ItemError;

    /// Without a sender it is this member's own, which is repeated although it is known.
    fn receive_item(
        &mut self,
        item: &[u8],
        sender: Option<&Identity>,
    ) -> Result<Option<Key>, ItemError> {
        match (decode(item)?, sender) {
            (ItemV1::Bulletin { name, incarnation, version, bytes }, _) => {
                if bytes.len() > METADATA_BYTES_MAX {
                    return Err(ItemError::TooLong(bytes.len()));
                }
                Identity::check_name(name)?;
                let edition = Edition { incarnation, version };
                let key = Key { name: name.into(), edition };
                let bytes = Bytes::copy_from_slice(bytes);
                let is_new =
                    self.board().on_bulletin(Bulletin { name: key.name.clone(), edition, bytes });
                Ok((is_new || sender.is_none()).then_some(key))
            }
            (ItemV1::Request { incarnation, version }, Some(sender)) => {
                let mut board = self.board();
                if board.asked.len() < ASKED_MAX {
                    board.asked.push((sender.clone(), Edition { incarnation, version }));
                }
                Ok(None)
            }
            (ItemV1::Request { .. }, None) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n1() -> Identity {
        Identity::new("n1", "10.0.0.1:8771".parse().unwrap(), 0x0102).unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    }

    fn bulletin(incarnation: u64, version: u64, bytes: &'static [u8]) -> Vec<u8> {
        let edition = Edition { incarnation, version };
        Bulletin { name: "n1".into(), edition, bytes: Bytes::from_static(bytes) }.encode()
    }

    #[test]
    fn items_have_their_golden_bytes() {
        let item = Bulletin::of(&n1(), 3, Bytes::from_static(b"abc")).encode();
        let golden = [
            "01",                   // version
            "00000000",             // bulletin
            "02000000000000006e31", // name
            "0201000000000000",     // incarnation
            "0300000000000000",     // version
            "0300000000000000",
            "616263", // bytes
        ];
        assert_eq!(hex(&item), golden.concat());
        let item = encode_request(Edition { incarnation: 0x0102, version: 3 });
        assert_eq!(hex(&item), "0101000000".to_owned() + "0201000000000000" + "0300000000000000");
    }

    #[test]
    fn a_later_edition_replaces_an_earlier_one_and_a_stale_one_dies_out() {
        let mut bulletins = Bulletins::default();
        let from = Some(&n1()).cloned();
        let mut take = |item: &[u8]| bulletins.receive_item(item, from.as_ref()).unwrap();
        let first = take(&bulletin(0x0102, 1, b"1")).unwrap();
        let second = take(&bulletin(0x0102, 2, b"2")).unwrap();
        assert!(second.invalidates(&first) && !first.invalidates(&second));
        assert_eq!(take(&bulletin(0x0102, 2, b"2")), None, "known");
        assert_eq!(take(&bulletin(0x0102, 1, b"1")), None, "stale");
        assert_eq!(take(&bulletin(0x0101, 9, b"0")), None, "of an earlier life");
        assert_eq!(bulletins.of(&n1()).unwrap(), "2");
        assert_eq!(bulletins.take_fresh().len(), 2);
    }

    #[test]
    fn metadata_is_never_shown_of_another_life() {
        let mut bulletins = Bulletins::default();
        bulletins.receive_item(&bulletin(0x0103, 1, b"later"), Some(&n1())).unwrap();
        assert_eq!(bulletins.of(&n1()), None);
    }

    #[test]
    fn the_own_bulletin_is_repeated() {
        let mut bulletins = Bulletins::default();
        assert!(bulletins.receive_item(&bulletin(1, 1, b""), None).unwrap().is_some());
        assert!(bulletins.receive_item(&bulletin(1, 1, b""), None).unwrap().is_some());
    }

    #[test]
    fn malformed_items_are_refused_and_requests_are_bounded() {
        let mut bulletins = Bulletins::default();
        let whole = bulletin(1, 1, b"abc");
        for length in 0..whole.len() {
            assert!(bulletins.receive_item(&whole[..length], Some(&n1())).is_err(), "{length}");
        }
        let spaced = Bulletin { name: "n 1".into(), edition: Edition::default(), bytes: "".into() };
        assert!(bulletins.receive_item(&spaced.encode(), Some(&n1())).is_err());
        let bytes = Bytes::from(vec![0; METADATA_BYTES_MAX + 1]);
        let long = Bulletin { name: "n".into(), edition: Edition::default(), bytes };
        assert!(matches!(
            bulletins.receive_item(&long.encode(), Some(&n1())),
            Err(ItemError::TooLong(769))
        ));
        assert!(bulletins.take_fresh().is_empty());
        for _ in 0..=ASKED_MAX {
            bulletins.receive_item(&encode_request(Edition::default()), Some(&n1())).unwrap();
        }
        assert_eq!(bulletins.take_asked().len(), ASKED_MAX);
    }

    #[test]
    fn bulletins_are_bounded() {
        let mut bulletins = Bulletins::default();
        for number in 0..2 * BULLETINS_MAX {
            let name = Arc::from(format!("n{number}"));
            let item = Bulletin { name, edition: Edition::default(), bytes: "".into() }.encode();
            bulletins.receive_item(&item, Some(&n1())).unwrap();
        }
        assert_eq!(bulletins.board().latest.len(), BULLETINS_MAX + 1);
        bulletins.shrink(|name| name == "n7");
        assert_eq!(bulletins.board().latest.len(), 1);
    }
}
