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


def _blob(content: bytes) -> Blob:
    return Blob("sha256:" + hashlib.sha256(content).hexdigest(), len(content), content)


def _descriptor(media_type: str, blob: Blob, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size, **more}


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
    layer_blob = _blob(layer_file.getvalue())
    configuration = _blob(json.dumps({
        "architecture": ARCHITECTURE, "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": user, "Env": ["PATH=/"]},
        "rootfs": {"type": "layers", "diff_ids": [layer_blob.digest]},
    }).encode())  # fmt: skip
    manifest = _blob(json.dumps({
        "schemaVersion": 2, "mediaType": _MANIFEST,
        "config": _descriptor(_CONFIG, configuration), "layers": [_descriptor(_LAYER, layer_blob)],
    }).encode())  # fmt: skip
    write_archive(archive, name, manifest, [configuration, layer_blob])
    return manifest.digest


def from_layout(layout: Path, tag: str, name: str, present: set[str], archive: Path) -> str:
    """Writes one image of a layout directory as an archive, without the blobs that are present.

    Returns the digest of the image.
    """
    index = json.loads((layout / "index.json").read_text())
    for entry in index["manifests"]:
        if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag:
            break
    else:
        raise KeyError(f"{layout} holds no image tagged {tag}")

    def stored(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    manifest = Blob(entry["digest"], entry["size"], stored(entry["digest"]))
    content = json.loads(stored(entry["digest"]).read_text())
    wanted = [content["config"], *content["layers"]]
    blobs = [Blob(d["digest"], d["size"], stored(d["digest"])) for d in wanted if d["digest"] not in present]
    write_archive(archive, name, manifest, blobs)
    return manifest.digest


def digest_in_layout(layout: Path, tag: str) -> str | None:
    """The digest of the image with this tag, if the layout has it."""
    try:
        index = json.loads((layout / "index.json").read_text())
    except FileNotFoundError:
        return None
    for entry in index["manifests"]:
        if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag:
            return str(entry["digest"])
    return None


def write_archive(archive: Path, name: str, manifest: Blob, blobs: list[Blob]) -> None:
    index = _blob(json.dumps({
        "schemaVersion": 2, "mediaType": _INDEX,
        "manifests": [_descriptor(_MANIFEST, manifest, annotations={
            "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name,
        })],
    }).encode())  # fmt: skip
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", _blob(b'{"imageLayoutVersion":"1.0.0"}'))
        _add(tar, "index.json", index)
        for blob in {blob.digest: blob for blob in [*blobs, manifest]}.values():
            _add(tar, "blobs/" + blob.digest.replace(":", "/"), blob)


def _add(tar: tarfile.TarFile, name: str, blob: Blob) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = blob.size
    if isinstance(blob.content, bytes):
        tar.addfile(entry, io.BytesIO(blob.content))
    else:
        with blob.content.open("rb") as content:
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
