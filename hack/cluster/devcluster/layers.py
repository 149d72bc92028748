"""Takes images out of buildah's store, one layer at a time.

`buildah push` packs and compresses every layer of an image each time, which
takes ten seconds when a line of Python has changed. The store keeps, beside each layer's
files, the recipe (tar-split: the headers of its tar file and the order of its files), so that
a single layer can be put together again, to the very byte: its digest is checked.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import config, oci
from .steps import ClusterError, output

_PLACE = config.CACHE / "buildah"
_FILE, _SEGMENT = 1, 2


def buildah(*arguments: str) -> list[str]:
    """A command line for a store of our own: nobody else's images are seen or changed."""
    return ["buildah", "--root", str(_PLACE / "root"), "--runroot", str(_PLACE / "run"),
            "--storage-driver", "overlay", *arguments]  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """An image as the store knows it."""

    manifest: str
    configuration: str

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.manifest.encode()).hexdigest()


def find(name: str) -> Stored | None:
    """The image of this name, if it was built."""
    try:
        found: dict[str, Any] = json.loads(output(buildah("inspect", "--type", "image", name)))
    except ClusterError:
        return None
    return Stored(found["Manifest"], found["Config"])


def write_archive(image: Stored, name: str, present: set[str], archive: Path) -> None:
    """Writes an image as an archive, without the blobs that are present where it goes."""
    manifest = oci.blob(image.manifest.encode())
    blobs = [oci.blob(image.configuration.encode())]
    scratch = []
    try:
        for layer in json.loads(image.manifest)["layers"]:
            if layer["digest"] not in present:
                path = archive.with_name(layer["digest"].removeprefix("sha256:") + ".layer")
                scratch.append(path)
                _restore(layer["digest"], path)
                blobs.append(oci.Blob(layer["digest"], layer["size"], path))
        oci.write_archive(archive, name, manifest, blobs)
    finally:
        for path in scratch:
            path.unlink(missing_ok=True)


def _restore(digest: str, target: Path) -> None:
    layer = _layer_with(digest)
    recipe = _PLACE / "root" / "overlay-layers" / f"{layer}.tar-split.gz"
    files = _PLACE / "root" / "overlay" / layer / "diff"
    actual = hashlib.sha256()
    with target.open("wb") as out:
        for piece in _pieces(recipe, files):
            actual.update(piece)
            out.write(piece)
    if f"sha256:{actual.hexdigest()}" != digest:
        raise ClusterError(f"buildah's layer {layer} is damaged; remove {_PLACE} and build again")


def _layer_with(digest: str) -> str:
    for layer in json.loads((_PLACE / "root" / "overlay-layers" / "layers.json").read_text()):
        if layer.get("diff-digest") == digest:
            return str(layer["id"])
    raise ClusterError(f"buildah's store has no layer {digest}; remove {_PLACE} and build again")


def _pieces(recipe: Path, files: Path) -> Iterator[bytes]:
    with gzip.open(recipe, "rt") as entries:
        for line in entries:
            entry = json.loads(line)
            if entry["type"] == _SEGMENT:
                yield base64.b64decode(entry["payload"])
            elif entry["type"] == _FILE and entry.get("size"):
                name = (
                    base64.b64decode(entry["name_raw"]).decode(errors="surrogateescape")
                    if "name_raw" in entry
                    else entry["name"]
                )
                with (files / name.lstrip("/")).open("rb") as content:
                    while chunk := content.read(1 << 20):
                        yield chunk
