"""Images as tar files in the OCI layout, written by hand where that is quicker.

containerd takes an archive without the layers that it already has. So
loading an image whose last layer alone has changed costs that layer only.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@dataclass(frozen=True)
class Blob:
    digest: str
    size: int
    content: Path | bytes


def blob(content: bytes) -> Blob:
    """A blob held in memory, named by its hash."""
    return Blob("sha256:" + hashlib.sha256(content).hexdigest(), len(content), content)


def _descriptor(media_type: str, described: Blob, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": described.digest, "size": described.size, **more}


def single_program(name: str, program: Path, user: str, archive: Path) -> str:
    """Writes an image that holds one statically linked program; returns its digest."""
    layer_file = io.BytesIO()
    with tarfile.open(fileobj=layer_file, mode="w") as layer:
        entry = tarfile.TarInfo(program.name)
        entry.size, entry.mode = program.stat().st_size, 0o755
        with program.open("rb") as content:
            layer.addfile(entry, content)
        scratch = tarfile.TarInfo("tmp")
        scratch.type, scratch.mode = tarfile.DIRTYPE, 0o1777
        layer.addfile(scratch)
    layer_blob = blob(layer_file.getvalue())
    configuration = blob(json.dumps({
        "architecture": ARCHITECTURE, "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": user, "Env": ["PATH=/"]},
        "rootfs": {"type": "layers", "diff_ids": [layer_blob.digest]},
    }).encode())  # fmt: skip
    manifest = blob(json.dumps({
        "schemaVersion": 2, "mediaType": _MANIFEST,
        "config": _descriptor(_CONFIG, configuration), "layers": [_descriptor(_LAYER, layer_blob)],
    }).encode())  # fmt: skip
    write_archive(archive, name, manifest, [configuration, layer_blob])
    return manifest.digest


def write_archive(archive: Path, name: str, manifest: Blob, blobs: list[Blob]) -> None:
    index = blob(json.dumps({
        "schemaVersion": 2, "mediaType": _INDEX,
        "manifests": [_descriptor(_MANIFEST, manifest, annotations={
            "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name,
        })],
    }).encode())  # fmt: skip
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", blob(b'{"imageLayoutVersion":"1.0.0"}'))
        _add(tar, "index.json", index)
        for each in {each.digest: each for each in [*blobs, manifest]}.values():
            _add(tar, "blobs/" + each.digest.replace(":", "/"), each)


def _add(tar: tarfile.TarFile, name: str, added: Blob) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = added.size
    if isinstance(added.content, bytes):
        tar.addfile(entry, io.BytesIO(added.content))
    else:
        with added.content.open("rb") as content:
            tar.addfile(entry, content)


def looks_like_archive(path: Path) -> bool:
    """Whether a file is a tar archive, plain or compressed by gzip."""
    try:
        with path.open("rb") as plain, gzip.open(path) as compressed:
            if plain.read(2) == b"\x1f\x8b":
                return compressed.read(263)[257:262] == b"ustar"
            plain.seek(257)
            return plain.read(5) == b"ustar"
    except (OSError, EOFError):
        return False
