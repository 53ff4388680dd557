//! One checker a promise. Each is fed every operation in real-time order, then the final read.
//!
//! How an indeterminate operation (`info`, or never completed) counts is said in each file; the rule
//! they share: it may be used to excuse what was seen, never to accuse.

mod request;
mod s10_attempts_exact;
mod s12_linearizable;
mod s13_one_end;
mod s15_cancel_holds;
mod s1_durable_add;
mod s2_no_phantom;
mod s3_idempotent_add;
mod s4_completed_once;
mod s5_tokens_grow;
mod s6_stale_token_dead;
mod s8_lease_not_early;
mod s9_delay_not_early;
mod suite;
mod verdict;
mod wait;

pub use s1_durable_add::DurableAdd;
pub use s2_no_phantom::NoPhantom;
pub use s3_idempotent_add::IdempotentAdd;
pub use s4_completed_once::CompletedOnce;
pub use s5_tokens_grow::TokensGrow;
pub use s6_stale_token_dead::StaleTokenDead;
pub use s8_lease_not_early::LeaseNotEarly;
pub use s9_delay_not_early::DelayNotEarly;
pub use s10_attempts_exact::AttemptsExact;
pub use s12_linearizable::Linearizable;
pub use s13_one_end::OneEnd;
pub use s15_cancel_holds::CancelHolds;
pub use suite::{Checker, all};
pub use verdict::{Counts, Finding, Promise, Verdict, Witness};
