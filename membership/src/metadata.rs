//! Opaque bytes of each member, spread by gossip.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bincode::Options as _;
use bytes::Bytes;
use foca::{BroadcastHandler, Invalidates};
use serde::{Deserialize, Serialize};

use crate::Identity;

/// What one life of a member published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bulletin {
    pub(crate) name: Arc<str>,
    pub(crate) incarnation: u64,
    pub(crate) version: u64,
    pub(crate) bytes: Bytes,
}

impl Bulletin {
    pub(crate) fn of(identity: &Identity, version: u64, bytes: Bytes) -> Self {
        Self { name: identity.shared_name(), incarnation: identity.incarnation(), version, bytes }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        bincode::DefaultOptions::new()
            .with_fixint_encoding()
            .serialize(self)
            .expect("a bulletin is plain data")
    }
}

/// The latest bulletin of each name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bulletins(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    latest: BTreeMap<Arc<str>, Bulletin>,
    fresh: Vec<Bulletin>,
}

impl Bulletins {
    pub(crate) fn of(&self, identity: &Identity) -> Option<Bytes> {
        let board = self.board();
        let bulletin = board.latest.get(identity.name())?;
        (bulletin.incarnation == identity.incarnation()).then(|| bulletin.bytes.clone())
    }

    pub(crate) fn take_fresh(&self) -> Vec<Bulletin> {
        std::mem::take(&mut self.board().fresh)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose bulletin, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    name: Arc<str>,
    incarnation: u64,
    version: u64,
}

impl Invalidates for Key {
    fn invalidates(&self, other: &Self) -> bool {
        self.name == other.name
            && (self.incarnation, self.version) >= (other.incarnation, other.version)
    }
}

impl BroadcastHandler<Identity> for Bulletins {
    type Key = Key;
    type Error = bincode::Error;

    fn receive_item(
        &mut self,
        data: &[u8],
        sender: Option<&Identity>,
    ) -> Result<Option<Key>, bincode::Error> {
        let bulletin: Bulletin =
            bincode::DefaultOptions::new().with_fixint_encoding().deserialize(data)?;
        let key = Key {
            name: bulletin.name.clone(),
            incarnation: bulletin.incarnation,
            version: bulletin.version,
        };
        let mut board = self.board();
        let is_news = board.latest.get(&bulletin.name).is_none_or(|known| {
            (known.incarnation, known.version) < (bulletin.incarnation, bulletin.version)
        });
        if is_news {
            board.latest.insert(bulletin.name.clone(), bulletin.clone());
            board.fresh.push(bulletin);
        }
        Ok((is_news || sender.is_none()).then_some(key))
    }
}
