#!/usr/bin/env bash
# Installs the real servers that `tests/sockets/servers` talks to, on Debian: nginx, haproxy, tinyproxy,
# squid and nghttpd from its packages, httpbin from PyPI into target/servers/venv. Does nothing where they
# are there already. The tests start and stop them themselves, on loopback.
set -euo pipefail
cd "$(dirname "$0")/../../.."

packages=()
for pair in nginx:nginx-light haproxy:haproxy tinyproxy:tinyproxy squid:squid nghttpd:nghttp2-server; do
    PATH=$PATH:/usr/sbin command -v "${pair%%:*}" >/dev/null || packages+=("${pair##*:}")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

venv=target/servers/venv
if ! "$venv/bin/python" -c 'import httpbin, gunicorn' 2>/dev/null; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check httpbin==0.10.2 gunicorn==23.0.0
fi
