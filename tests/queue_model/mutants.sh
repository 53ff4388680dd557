#!/usr/bin/env bash
# Breaks the rules of the queue on purpose, one place at a time, and shows which breaks no test notices.
#
#   tests/queue_model/mutants.sh DIRECTORY [SHARD/OF] [FILE...]
#
# The rules need nothing of the rest of the server, so they are copied with their tests into a crate of
# their own in DIRECTORY, which builds in seconds, and cargo-mutants (cargo install cargo-mutants) works
# there: on the files named (dispatch, settle, …; all when none is), or on one shard of what it finds.
# A mutant that is MISSED is either equal to what it replaced, or wants a test.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
directory=${1:?where to work} && shift
shard=(--shard "${1:-0/1}") && shift || true
files=()
for file in "$@"; do files+=(--file "src/queue/$file.rs"); done
[ ${#files[@]} -gt 0 ] || files=(--exclude "src/queue/invariants.rs")

mkdir -p "$directory" && cd "$directory"
rm -rf src tests && mkdir -p src tests
cp -r "$here/src/queue" src/ && cp -r "$here/tests/queue_model" tests/ && cp "$here/Cargo.lock" .
echo 'pub mod queue;' >src/lib.rs
cat >Cargo.toml <<MANIFEST
[workspace]
[package]
name = "quorate"
version = "0.1.0"
edition = "2024"
[dependencies]
$(grep -E '^(bincode|bytes|imbl|rand|serde|thiserror|xxhash-rust) *= *[{"]' "$here/Cargo.toml")
[profile.dev]
opt-level = 1
MANIFEST
export QUORATE_MODEL_SEEDS=${QUORATE_MODEL_SEEDS:-60}
cargo mutants "${files[@]}" "${shard[@]}" --sharding round-robin --no-shuffle --in-place --cap-lints=true \
    --timeout 120 -- --lib --test queue_model
