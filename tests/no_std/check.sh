#!/usr/bin/env bash
# Builds and runs the program without std, then checks that its twin with std does not build, for the
# one reason that counts.
set -euo pipefail
cd "$(dirname "$0")"

for profile in dev release; do
    cargo run --quiet --profile "$profile"
done

if log=$(cargo build --manifest-path ../no_std_control/Cargo.toml --color never 2>&1); then
    echo "no_std_control: built, so the check cannot fail" >&2
    exit 1
fi
# E0152 about the panic handler, and no other error.
errors=$(grep -E '^error' <<<"$log" | grep -v '^error: could not compile' || true)
if [[ $errors != 'error[E0152]: found duplicate lang item `panic_impl`' ]]; then
    echo "no_std_control: failed, but not for the reason that counts:" >&2
    echo "$log" >&2
    exit 1
fi
echo "no_std_control: refused with E0152, as it must be"
