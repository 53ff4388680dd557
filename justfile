# `just` lists the recipes. `just check` is what CI runs; it never writes.

_default:
    @just --list

# Everything that CI checks.
check:
    .ci/run

# What a tool can mend, mended.
fix:
    cargo fmt --all
    cargo fmt --manifest-path sim/Cargo.toml
    cargo clippy --workspace --all-targets --fix --allow-dirty

# Each pure crate alone: in a workspace build its dependencies' features are the union of everybody's.
check-pure:
    cargo check -p raft
    cargo check -p membership
    cargo check -p jepsen-like

# One simulated minute of three voters in trouble, from a seed.
sim seed:
    cd sim && cargo run -- --seed {{seed}}
