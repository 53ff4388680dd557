//! The HTTP contract, through real sockets against a node or three: each call, each row of the error
//! table, and what a hostile or careless client may send.

#![expect(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod admin;
mod calls;
mod contract_add;
mod contract_claim;
mod contract_errors;
mod contract_history;
mod contract_holder;
mod contract_list;
mod contract_queues;
mod contract_read;
mod contract_rules;
mod contract_workers;
mod disks;
mod documents;
mod errors;
mod events;
mod farewell;
mod history;
mod hostile;
mod lease;
mod list;
mod longpoll;
mod metrics;
mod openapi;
mod peers;
mod queues;
mod retry;
mod schemas;
mod support;
mod table;
mod unavailable;
mod workers;
