#!/bin/sh
# Makes .venv with the locked development dependencies, when it is not there or the lock has changed.
# Needs Python 3.11 or later; on Debian and Ubuntu, as root, installs python3-venv where it is missing.
set -eu
cd "$(dirname "$0")/.."

wanted=$(cat requirements/dev.txt requirements/uv.txt | sha256sum | cut -d ' ' -f 1)
stamp=.venv/.pgwarden-requirements
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "python.sh: Python 3.11 or later is needed; set PYTHON to one" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "python.sh: installing python3-venv"
        apt-get update -q >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3-venv >/dev/null
    else
        echo "python.sh: Python's module venv is missing (Debian and Ubuntu: package python3-venv)" >&2
        exit 1
    fi
fi

started=$(date +%s)
echo "python.sh: making .venv with $(grep -c == requirements/dev.txt) locked packages"
rm -rf .venv
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    --requirement requirements/uv.txt
.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes --requirement requirements/dev.txt
echo "$wanted" >"$stamp"
echo "python.sh: made in $(($(date +%s) - started)) s"
