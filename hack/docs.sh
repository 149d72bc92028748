#!/bin/sh
# Builds the documentation into site/, and fails on a link that leads nowhere.
set -eu
cd "$(dirname "$0")/.."
environment=.venv-docs
wanted=$(sha256sum requirements/docs.txt | cut -d ' ' -f 1)
if [ "$(cat "$environment/.pgwarden-requirements" 2>/dev/null || true)" != "$wanted" ]; then
    .venv/bin/uv venv --quiet --clear --python .venv/bin/python "$environment"
    .venv/bin/uv pip install --quiet --python "$environment/bin/python" --require-hashes -r requirements/docs.txt
    echo "$wanted" >"$environment/.pgwarden-requirements"
fi
export NO_MKDOCS_2_WARNING=1
# Not --quiet: it would keep warnings from being counted, and with --strict they are what fails.
exec "$environment/bin/mkdocs" build --strict --config-file mkdocs.yaml --site-dir site
