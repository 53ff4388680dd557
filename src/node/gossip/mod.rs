//! What this node says and hears by gossip.

mod card;

pub use card::{Card, Kind};
