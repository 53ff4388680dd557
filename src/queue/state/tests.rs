//! Claims about the rules, one at a time.
