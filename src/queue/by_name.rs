//! A map from names, for look-ups among very many.

use std::collections::BTreeMap;

use super::{QueueName, WorkType};

/// A map in the order of its names. The first bytes of each stand beside it, so that a look-up compares
/// numbers, and follows the pointer to a name only where these are equal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ByName<Name, Value>(BTreeMap<(FirstBytes, Name), Value>);

/// The first 16 bytes of a name, big-endian. No name has a zero in it, so a shorter one is lesser.
type FirstBytes = u128;

/// What a name is, as far as a key needs to know.
pub(super) trait Name: Ord + Clone {
    fn text(&self) -> &str;
}

impl Name for QueueName {
    fn text(&self) -> &str {
        self.as_str()
    }
}

impl Name for WorkType {
    fn text(&self) -> &str {
        self.as_str()
    }
}

impl<N: Name, Value> ByName<N, Value> {
    pub(super) fn get(&self, name: &N) -> Option<&Value> {
        self.0.get(&key(name))
    }

    pub(super) fn get_mut(&mut self, name: &N) -> Option<&mut Value> {
        self.0.get_mut(&key(name))
    }

    pub(super) fn contains_key(&self, name: &N) -> bool {
        self.0.contains_key(&key(name))
    }

    /// The value under a name; the default is put there when there is none.
    pub(super) fn get_or_default(&mut self, name: &N) -> &mut Value
    where
        Value: Default,
    {
        self.0.entry(key(name)).or_default()
    }

    pub(super) fn remove(&mut self, name: &N) -> Option<Value> {
        self.0.remove(&key(name))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &N> {
        self.0.keys().map(|key| &key.1)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.0.values()
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = Value> {
        self.0.into_values()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&N, &Value)> {
        self.0.iter().map(|(key, value)| (&key.1, value))
    }
}

impl<Name, Value> Default for ByName<Name, Value> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

fn key<N: Name>(name: &N) -> (FirstBytes, N) {
    let text = name.text().as_bytes();
    let mut first_bytes = [0; size_of::<FirstBytes>()];
    let length = text.len().min(first_bytes.len());
    first_bytes[..length].copy_from_slice(&text[..length]);
    (FirstBytes::from_be_bytes(first_bytes), name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_the_names_whatever_their_first_bytes() {
        let names =
            ["a", "a-0123456789abcde", "a-0123456789abcdef", "a-0123456789abcdg", "ab", "b"];
        let mut map = ByName::default();
        for name in names.iter().rev() {
            let name = WorkType::parse(name).unwrap();
            *map.get_or_default(&name) = name.to_string();
        }
        assert!(map.keys().map(WorkType::as_str).eq(names));
        for (name, value) in map.iter() {
            assert_eq!(map.get(name), Some(value));
        }
        let removed = WorkType::parse(names[2]).unwrap();
        assert_eq!(map.remove(&removed).as_deref(), Some(names[2]));
        assert!(!map.contains_key(&removed) && map.values().count() == names.len() - 1);
    }
}
