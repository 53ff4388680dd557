//! One checker a promise. Each is fed every operation in real-time order, then the final read.
//!
//! How an indeterminate operation (`info`, or never completed) counts is said in each file; the rule
//! they share: it may be used to excuse what was seen, never to accuse.

mod s1_durable_add;
mod s2_no_phantom;
mod s3_idempotent_add;
mod s4_completed_once;
mod s5_tokens_grow;
mod s6_stale_token_dead;
mod verdict;

use std::sync::Arc;

pub use s1_durable_add::DurableAdd;
pub use s2_no_phantom::NoPhantom;
pub use s3_idempotent_add::IdempotentAdd;
pub use s4_completed_once::CompletedOnce;
pub use s5_tokens_grow::TokensGrow;
pub use s6_stale_token_dead::StaleTokenDead;
pub use verdict::{Counts, Finding, Promise, Verdict, Witness};

use crate::{
    final_read::FinalRead,
    history::{Event, Operation},
};

/// Judges one promise.
pub trait Checker: Send {
    /// An operation begins.
    fn on_invoke(&mut self, invoke: &Arc<Event>);
    /// An operation ends. An operation that never does is not heard of again.
    fn on_completion(&mut self, operation: &Operation);
    /// The history is over.
    fn finish(self: Box<Self>, read: &FinalRead) -> Finding;
}

/// All of them, in the order of the promises.
pub fn all() -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(DurableAdd::default()),
        Box::new(NoPhantom::default()),
        Box::new(IdempotentAdd::default()),
        Box::new(CompletedOnce::default()),
        Box::new(TokensGrow::default()),
        Box::new(StaleTokenDead::default()),
    ]
}
