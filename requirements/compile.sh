#!/usr/bin/env bash
# Locks the dependencies of pyproject.toml with hashes, and without recording where they were downloaded from.
# Newer versions: requirements/compile.sh --upgrade
set -euo pipefail
cd "$(dirname "$0")/.."
common=(--quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header)
uv pip compile pyproject.toml "${common[@]}" "$@" --output-file requirements/runtime.txt
uv pip compile pyproject.toml "${common[@]}" "$@" --group lint --group test --output-file requirements/dev.txt
uv pip compile --group docs "${common[@]}" "$@" --output-file requirements/docs.txt
uv pip compile requirements/uv.in "${common[@]}" "$@" --output-file requirements/uv.txt
