#!/usr/bin/env bash
# What the attribute costs to compile: a crate of functions with it, and the same without, checked and built.
# Prints milliseconds of processor time for one function. `benches/attribute.sh 500` takes 500 functions.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
count=${1:-100}
crate=$(mktemp -d)
trap 'rm -rf "$crate"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
mkdir "$crate/src"
cp "$root/Cargo.lock" "$crate"
cat >"$crate/Cargo.toml" <<TOML
[package]
name = "attribute-cost"
version = "0.0.0"
edition = "2024"

[dependencies]
dace = { path = "$root", default-features = false, features = ["macros", "tokio"] }

[workspace]
TOML

functions() {
    echo 'use dace::{HttpError, tokio::Call};'
    for ((number = 0; number < count; number++)); do
        echo "$1"
        echo "pub async fn function_$number(call: &Call, url: &str) -> Result<String, HttpError> {"
        echo '    call.http().get(url).send().await?.text().await'
        echo '}'
    done
}

# The time that `cargo $1` takes once everything but the functions is compiled.
spent() {
    local TIMEFORMAT='%U'
    cargo "$1" --quiet --offline --manifest-path "$crate/Cargo.toml"
    touch "$crate/src/lib.rs"
    { time CARGO_INCREMENTAL=0 cargo "$1" --quiet --offline --manifest-path "$crate/Cargo.toml"; } 2>&1
}

for command in check build; do
    functions '' >"$crate/src/lib.rs"
    plain=$(spent "$command")
    functions '#[dace::fault_tolerant(timeout = "5s", retry_attempts = 2)]' >"$crate/src/lib.rs"
    decorated=$(spent "$command")
    awk -v command="$command" -v plain="$plain" -v decorated="$decorated" -v count="$count" 'BEGIN {
        printf "cargo %s: %.1f ms for each function\n", command, (decorated - plain) * 1000 / count
    }'
done
