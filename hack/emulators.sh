#!/bin/sh
# Builds or installs what stands in for Google Cloud Storage and Azure Blob Storage in tests, as far as it is missing,
# outside the checkout, by the hash of what was pinned. Prints the folder of the programs fake-gcs-server and azurite-blob.
set -eu
cd "$(dirname "$0")/emulators"

pinned=$(cat go.mod go.sum package.json package-lock.json | sha256sum | cut -c 1-16)
folder="${XDG_CACHE_HOME:-$HOME/.cache}/pgwarden/emulators-$pinned"
if [ ! -x "$folder/bin/azurite-blob" ]; then
    mkdir -p "$folder/bin"
    CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off go build -trimpath -o "$folder/bin/fake-gcs-server" \
        github.com/fsouza/fake-gcs-server >&2
    cp package.json package-lock.json "$folder"
    npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    ln -s ../node_modules/.bin/azurite-blob "$folder/bin/azurite-blob"
fi
echo "$folder/bin"
