"""The images of the product and of the PostgreSQL servers it is tried on.

The Dockerfile is the one a user with docker builds. Here buildah runs it on bases
that mmdebstrap makes from Debian's packages, in place of the ones a registry would give.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import config, oci, store
from .steps import fresh_log, output, run, say, step, succeeds

_HOST_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_LAYOUT = config.CACHE / "images"
# What the Dockerfile calls its bases, and the release of Debian that stands in for each.
_BASES = {"DEBIAN_FOR_17": "trixie", "DEBIAN_FOR_18": "testing"}
# As Debian's slim images leave out what nobody reads in a container.
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc/*")


@dataclass(frozen=True)
class Image:
    name: str
    target: str
    major: str

    @property
    def tag(self) -> str:
        return self.name.removeprefix("localhost/").replace(":", "-")


IMAGES = (
    Image("localhost/postgres:17", "postgres", "17"),
    Image("localhost/postgres:18", "postgres", "18"),
    Image("localhost/pgwarden-operator:dev", "operator", "17"),
    Image("localhost/pgwarden-agent:17-dev", "agent", "17"),
    Image("localhost/pgwarden-agent:18-dev", "agent", "18"),
)


def build() -> None:
    """Builds what has changed since the last build into the layout directory."""
    with _one_at_a_time():
        wanted = _inputs()
        mark = _LAYOUT / "inputs"
        complete = all(oci.digest_in_layout(_LAYOUT, image.tag) for image in IMAGES)
        if complete and mark.exists() and mark.read_text() == wanted:
            return
        for release in _BASES.values():
            _bootstrap(release)
        for image in IMAGES:
            _build(image)
        _remove_unused_blobs()
        mark.write_text(wanted)


def load() -> None:
    """Loads the built images into containerd, sending only layers that it doesn't have."""
    with _one_at_a_time():
        for image in IMAGES:
            if store.images().get(image.name) != oci.digest_in_layout(_LAYOUT, image.tag):
                with step(f"load {image.name}"):
                    store.load_from_layout(_LAYOUT, image.tag, image.name)


def built() -> bool:
    return all(oci.digest_in_layout(_LAYOUT, image.tag) for image in IMAGES)


def _inputs() -> str:
    """A hash of everything the images are made of."""
    digest = hashlib.sha256()
    sources = [config.CHECKOUT / "Dockerfile", config.CHECKOUT / ".dockerignore",
               config.CHECKOUT / "requirements" / "runtime.txt"]  # fmt: skip
    package = config.CHECKOUT / "operator" / "pgwarden"
    sources += [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for path in sorted(sources):
        mode = path.stat().st_mode & 0o777
        digest.update(f"{path.relative_to(config.CHECKOUT)}\0{mode:o}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _buildah(*arguments: str) -> list[str]:
    # A store of our own: nobody else's images are seen, changed or removed.
    place = config.CACHE / "buildah"
    return ["buildah", "--root", str(place / "root"), "--runroot", str(place / "run"),
            "--storage-driver", "overlay", *arguments]  # fmt: skip


def _base_name(release: str) -> str:
    return f"localhost/debian:{release}"


def _bootstrap(release: str) -> None:
    name = _base_name(release)
    if succeeds(_buildah("inspect", "--type", "image", name)):
        return
    log = fresh_log(f"bootstrap-{release}")
    archive = config.CACHE / f"debian-{release}.tar"
    with step(f"bootstrap Debian {release}", log):
        argv = ["mmdebstrap", "--variant=minbase", *[f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT],
                "--dpkgopt=path-include=/usr/share/doc/*/copyright",
                # Signatures are checked; only the date is not: a mirror may be kept back on
                # purpose for longer than the week for which Debian dates a testing release.
                '--aptopt=Acquire::Check-Valid-Until "false"', release, str(archive)]  # fmt: skip
        run(argv, log=log)
        container = output(_buildah("from", "scratch")).strip()
        try:
            run(_buildah("add", "--quiet", container, str(archive), "/"), log=log)
            run(_buildah("config", "--cmd", "bash", container), log=log)
            run(_buildah("commit", "--quiet", "--disable-compression", container, name), log=log)
        finally:
            run(_buildah("rm", container), log=log)
            archive.unlink(missing_ok=True)


def _build(image: Image) -> None:
    log = fresh_log(f"image-{image.tag}")
    settings = config.RUN / "pip.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("[global]\ncert = /etc/build-ca.crt\n" if _HOST_CERTIFICATES.exists() else "")
    authority = _HOST_CERTIFICATES if _HOST_CERTIFICATES.exists() else settings
    bases = [f"--build-arg={argument}={_base_name(release)}" for argument, release in _BASES.items()]
    with step(f"image {image.name}", log):
        run(_buildah(
            "build", "--isolation", "chroot", "--network", "host", "--layers", "--pull-never",
            "--secret", f"id=pip.conf,src={settings}", "--secret", f"id=ca.crt,src={authority}",
            *bases, f"--build-arg=PG_MAJOR={image.major}", "--target", image.target, "--tag", image.name,
            str(config.CHECKOUT),
        ), log=log)  # fmt: skip
        # Without compression a layer is known by the hash of its content, and one that the
        # layout has already is not packed again.
        run(_buildah("push", "--quiet", "--disable-compression", image.name, f"oci:{_LAYOUT}:{image.tag}"), log=log)


def _remove_unused_blobs() -> None:
    """Removes the layers of earlier builds from the layout and from buildah's store."""
    index = json.loads((_LAYOUT / "index.json").read_text())
    named = {image.tag for image in IMAGES}
    index["manifests"] = [
        entry for entry in index["manifests"]
        if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") in named
    ]  # fmt: skip
    (_LAYOUT / "index.json").write_text(json.dumps(index))
    used = set()
    for entry in index["manifests"]:
        manifest = json.loads((_LAYOUT / "blobs" / entry["digest"].replace(":", "/")).read_text())
        used |= {entry["digest"], manifest["config"]["digest"], *[layer["digest"] for layer in manifest["layers"]]}
    for blob in (_LAYOUT / "blobs" / "sha256").iterdir():
        if f"sha256:{blob.name}" not in used:
            blob.unlink()


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two builds at once would write the same layout."""
    config.CACHE.mkdir(parents=True, exist_ok=True)
    with (config.CACHE / "images.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is under way; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove_all() -> None:
    """Removes built images and bases; the next build begins from Debian's packages."""
    shutil.rmtree(_LAYOUT, ignore_errors=True)
