#!/usr/bin/env bash
# Writes down what is public, crate by crate: `git diff docs/api` then says what a change does to users. Needs
# `cargo install --locked cargo-public-api`. The JSON that it reads is unstable, so a stable compiler has to be
# allowed to write it, and both have to know the same format of it: cargo-public-api 0.52 and Rust 1.95 do.
set -euo pipefail
cd "$(dirname "$0")/../.."
crates=(dace dace-core dace-hyper dace-macros dace-sim dace-smol dace-tokio)
# Apart from what else is built: build scripts see that the compiler is allowed more, and nothing would be fresh.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/api
export RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS='-Z unstable-options --output-format json'
cargo doc --quiet --all-features --no-deps --lib "${crates[@]/#/--package=}"
for crate in "${crates[@]}"; do
    # Without the impls that every type has, or that are derived.
    cargo public-api -sss --rustdoc-json "$CARGO_TARGET_DIR/doc/${crate//-/_}.json" >"docs/api/$crate.txt"
done
