//! Three real voters, driven from outside and killed with -9.

#![expect(clippy::print_stderr, reason = "seeds, figures and the logs of failed runs")]

mod agents;
mod corruption;
mod discovery;
mod drain;
mod events;
mod figures;
mod history;
mod hostile;
mod power;
mod rolling;
mod seed_commands;
mod support;
mod voters;
