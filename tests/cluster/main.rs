//! Three real voters, driven from outside and killed with -9.

mod corruption;
mod drain;
mod history;
mod power;
mod seed_commands;
mod support;
