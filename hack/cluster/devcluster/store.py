"""The images in containerd, seen and loaded through its own client."""

from __future__ import annotations

from pathlib import Path

from . import config, oci
from .steps import output, run, succeeds


def _ctr(*arguments: str) -> list[str]:
    return ["ctr", "--address", str(config.CONTAINERD_SOCKET), "--namespace", "k8s.io", *arguments]


def images() -> dict[str, str]:
    """Name -> digest of every image that is loaded."""
    rows = output(_ctr("images", "list")).splitlines()[1:]
    fields = [row.split() for row in rows]
    # REF TYPE DIGEST SIZE UNIT PLATFORMS LABELS
    return {row[0]: row[2] for row in fields if len(row) > 2 and not row[0].startswith("sha256:")}


def blobs() -> set[str]:
    """The digests of everything stored, layers included."""
    return set(output(_ctr("content", "list", "--quiet")).split())


def load_archive(archive: Path, log: Path | None = None) -> None:
    run(_ctr("images", "import", str(archive)), log=log)


def load_program(name: str, program: Path, user: str) -> None:
    """Makes an image of one static program and loads it, unless it's there already."""
    archive = config.RUN / f"{program.name}.image.tar"
    digest = oci.single_program(name, program, user, archive)
    try:
        if images().get(name) != digest:
            load_archive(archive)
    finally:
        archive.unlink()


def answers() -> bool:
    return succeeds(_ctr("version"))


def remove_containers() -> None:
    """Forgets containers of a cluster that is gone; their processes ended with it."""
    for container in output(_ctr("containers", "list", "--quiet")).split():
        run(_ctr("containers", "delete", container))
