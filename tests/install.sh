#!/usr/bin/env bash
# Installs the real servers and receivers that some of the tests talk to. Does nothing where they are there.
set -euo pipefail
cd "$(dirname "$0")"
sockets/servers/install.sh
receivers/install.sh
