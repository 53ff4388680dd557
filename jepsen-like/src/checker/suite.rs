//! What a checker is, and all of them.

use std::sync::Arc;

use super::{
    AttemptsExact, CancelHolds, CompletedOnce, DelayNotEarly, DurableAdd, Finding, IdempotentAdd,
    LeaseNotEarly, Linearizable, NoPhantom, OneEnd, StaleTokenDead, TokensGrow,
};
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
        Box::new(LeaseNotEarly::default()),
        Box::new(DelayNotEarly::default()),
        Box::new(AttemptsExact::default()),
        Box::new(Linearizable::default()),
        Box::new(OneEnd::default()),
        Box::new(CancelHolds::default()),
    ]
}
