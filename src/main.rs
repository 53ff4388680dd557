//! `queue`: parse, run, exit code.

fn main() {}
