//! The HTTP contract, through real sockets against a node or three: each call, each row of the error
//! table, and what a hostile or careless client may send.

#![expect(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod calls;
mod disks;
mod documents;
mod errors;
mod history;
mod hostile;
mod longpoll;
mod support;
mod table;
mod unavailable;
