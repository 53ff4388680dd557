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

# Five real voters and everything that this machine can do to them, for as many seconds.
chaos seconds="600":
    cargo run --release -p jepsen-like -- run --nodes 5 --time {{seconds}}

# One simulated minute of voters in trouble, from a seed.
sim seed:
    cd sim && cargo run -- --seed {{seed}}

# Plants one bug after the other into the simulated voters, and shows what catches it.
sim-mutants:
    cd sim && cargo run -- --mutants all

# How long one apply takes while a million jobs are purged, or a snapshot of them is written.
bench-stalls:
    cargo bench -p quorate --bench purge_stall
    cargo bench -p quorate --bench snapshot_stall

# Breaks the rules of the queue on purpose and shows which breaks no test notices: hours for all, so a
# shard of them (`just mutants 0/24`). Wants `cargo install cargo-mutants`.
mutants shard:
    tests/queue_model/mutants.sh "${TMPDIR:-/tmp}/queue-mutants" {{shard}}

# The instructions of one claim with up to a million jobs in its way. Needs no quiet machine.
bench-claims:
    @command -v valgrind >/dev/null || (apt-get update -q && apt-get install -qy valgrind)
    cargo bench -p quorate --bench claim_cost
