#!/usr/bin/env bash
# Installs what the tests in this folder start: Etsy's statsd (pinned, below cargo's target folder),
# collectd and promtool. As root, on Debian; elsewhere install `collectd` and `promtool` by hand.
set -euo pipefail
cd "$(dirname "$0")/../.."
statsd="${CARGO_TARGET_DIR:-target}/tmp/statsd"
packages=()

command -v collectd >/dev/null || packages+=(collectd-core)
command -v promtool >/dev/null || packages+=(prometheus)
command -v npm >/dev/null || packages+=(nodejs npm)
if ((${#packages[@]})); then
    apt-get update -qq
    # Only the programs: no service is to start.
    RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi
if [[ ! -e $statsd/node_modules/statsd/stats.js ]]; then
    mkdir -p "$statsd"
    npm install --silent --no-save --no-package-lock --omit=optional --prefix "$statsd" statsd@0.9.0
fi
