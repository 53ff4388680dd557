//! Datagrams that are none of the cluster's, made of nothing or of what was heard.

use std::net::SocketAddrV4;

use crate::{chance::Chance, network::Datagram};

/// The longest that is made: one that needs no fragments on any path.
const LENGTH_MAX: u64 = 1400;

/// What is wrong with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Bytes by chance.
    Garbage,
    /// One that was heard, cut short.
    Truncated,
    /// One that was heard, with one bit changed.
    Flipped,
    /// One that was heard, to the same receiver again.
    Replayed,
    /// One that was heard, to another receiver than it was for.
    Redirected,
    /// One that a stranger sealed with another key.
    WrongKey,
}

impl Kind {
    pub(super) const ALL: [Self; 6] = [
        Self::Garbage,
        Self::Truncated,
        Self::Flipped,
        Self::Replayed,
        Self::Redirected,
        Self::WrongKey,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::Truncated => "truncated",
            Self::Flipped => "a bit changed",
            Self::Replayed => "replayed",
            Self::Redirected => "replayed elsewhere",
            Self::WrongKey => "wrong key",
        }
    }
}

/// What forgeries to one node are made of.
#[derive(Debug, Clone)]
pub(super) struct Material {
    /// The node.
    pub(super) to: SocketAddrV4,
    /// The other members: a forgery names one as its sender.
    pub(super) others: Vec<SocketAddrV4>,
    /// What was heard for this node.
    pub(super) own: Vec<Datagram>,
    /// What was heard for others.
    pub(super) of_others: Vec<Datagram>,
    /// What a stranger sealed.
    pub(super) strange: Vec<Datagram>,
}

impl Material {
    /// One of this kind; `None` when nothing was heard that it could be made of.
    pub(super) fn forge(&self, kind: Kind, chance: &mut Chance) -> Option<Datagram> {
        let heard = match kind {
            Kind::Garbage => {
                let from = *one_of(&self.others, chance)?;
                return Some(Datagram { from, to: self.to, payload: garbage(chance) });
            }
            Kind::Truncated | Kind::Flipped | Kind::Replayed => &self.own,
            Kind::Redirected => &self.of_others,
            Kind::WrongKey => &self.strange,
        };
        let mut forged = Datagram { to: self.to, ..one_of(heard, chance)?.clone() };
        match kind {
            Kind::Truncated => {
                let length = index(forged.payload.len(), chance)?;
                forged.payload.truncate(length);
            }
            Kind::Flipped => {
                let at = index(forged.payload.len(), chance)?;
                forged.payload[at] ^= 1 << chance.below(8);
            }
            Kind::WrongKey => forged.from = *one_of(&self.others, chance)?,
            Kind::Garbage | Kind::Replayed | Kind::Redirected => {}
        }
        Some(forged)
    }
}

fn garbage(chance: &mut Chance) -> Vec<u8> {
    let length = usize::try_from(chance.below(LENGTH_MAX + 1)).expect("it is short");
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(chance.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn one_of<'a, T>(choices: &'a [T], chance: &mut Chance) -> Option<&'a T> {
    (!choices.is_empty()).then(|| chance.one_of(choices))
}

fn index(length: usize, chance: &mut Chance) -> Option<usize> {
    let length = u64::try_from(length).ok().filter(|length| *length > 0)?;
    usize::try_from(chance.below(length)).ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const fn at(number: u8) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 77, number, 1), 8771)
    }

    fn heard(from: u8, to: u8, payload: &[u8]) -> Datagram {
        Datagram { from: at(from), to: at(to), payload: payload.to_vec() }
    }

    fn material() -> Material {
        Material {
            to: at(1),
            others: vec![at(2), at(3)],
            own: vec![heard(2, 1, b"for one")],
            of_others: vec![heard(2, 3, b"for three")],
            strange: vec![heard(200, 3, b"strange")],
        }
    }

    #[test]
    fn every_kind_goes_to_the_node_in_the_name_of_another_member() {
        let mut chance = Chance::of(7);
        for kind in Kind::ALL {
            let forged = material().forge(kind, &mut chance).unwrap();
            assert_eq!(forged.to, at(1), "{kind:?}");
            assert!(material().others.contains(&forged.from), "{kind:?}");
        }
    }

    #[test]
    fn what_was_heard_is_cut_changed_or_sent_as_it_was() {
        let mut chance = Chance::of(7);
        let mut forge = |kind| material().forge(kind, &mut chance).unwrap().payload;
        for _ in 0..100 {
            assert!(forge(Kind::Truncated).len() < b"for one".len());
            let flipped = forge(Kind::Flipped);
            let bits = flipped.iter().zip(b"for one").map(|(a, b)| (a ^ b).count_ones());
            assert_eq!(bits.sum::<u32>(), 1);
            assert!(forge(Kind::Garbage).len() <= 1400);
        }
        assert_eq!(forge(Kind::Replayed), b"for one");
        assert_eq!(forge(Kind::Redirected), b"for three");
        assert_eq!(forge(Kind::WrongKey), b"strange");
    }

    #[test]
    fn of_nothing_that_was_heard_nothing_is_made() {
        let deaf = Material { own: vec![], of_others: vec![], strange: vec![], ..material() };
        let mut chance = Chance::of(7);
        let made: Vec<_> =
            Kind::ALL.iter().filter(|kind| deaf.forge(**kind, &mut chance).is_some()).collect();
        assert_eq!(made, [&Kind::Garbage]);
    }
}
