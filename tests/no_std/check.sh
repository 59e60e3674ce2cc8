#!/usr/bin/env bash
# The core links and runs without std; and the check can fail: with std let in, it does.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/target}

CARGO_TARGET_DIR=$target cargo run --quiet --manifest-path "$here/Cargo.toml"

control=$here/../no_std_control/Cargo.toml
if output=$(CARGO_TARGET_DIR=$target/control cargo build --manifest-path "$control" 2>&1); then
    echo "the negative control was built: this check cannot fail" >&2
    exit 1
fi
if ! grep -q 'error\[E0152\]' <<<"$output"; then
    printf '%s\n' "$output" >&2
    echo "the negative control failed for another reason than a second panic handler (E0152)" >&2
    exit 1
fi
echo "with std let in, the same program does not build (E0152)"
