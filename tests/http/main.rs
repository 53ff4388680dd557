//! The HTTP contract, through real sockets against one node: each call, each row of the error table,
//! and what a hostile or careless client may send.

#![expect(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod calls;
mod documents;
mod errors;
mod hostile;
mod longpoll;
mod support;
