#!/bin/sh
# Installs the Debian packages that the tests use (hack/test-packages.txt), as far as they are missing.
set -eu
cd "$(dirname "$0")/.."

missing=''
while read -r package; do
    if ! dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then
        missing="$missing $package"
    fi
done <hack/test-packages.txt
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "test-packages.sh: install these first:$missing" >&2
    exit 1
fi
echo "test-packages.sh: installing$missing"
apt-get update -q >/dev/null
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >/dev/null
