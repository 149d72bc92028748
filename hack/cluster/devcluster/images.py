"""The images of the product and of the PostgreSQL servers it is tried on.

The Dockerfile is the one a user with docker builds. Here buildah runs it on bases
that mmdebstrap makes from Debian's packages, in place of the ones a registry would give.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from . import config, layers, store
from .lock import exclusive
from .steps import fresh_log, output, run, step, succeeds

# What buildah says of each step: the image that it gave, or the one that it found.
_STEP = re.compile(r"^--> (?:Using cache )?([0-9a-f]{11,64})$", re.MULTILINE)
_OUTDATED_STEPS_KEPT = 60
_HOST_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_MARK = config.CACHE / "images.inputs"
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
    """Builds what has changed since the last build."""
    with exclusive("images"):
        wanted = _inputs()
        if _MARK.exists() and _MARK.read_text() == wanted and built():
            return
        for release in _BASES.values():
            _bootstrap(release)
        logs = [_build(image) for image in IMAGES]
        _remove_outdated(logs)
        _MARK.write_text(wanted)


def load() -> None:
    """Loads the built images into containerd, sending only layers that it doesn't have."""
    with exclusive("images"):
        loaded = store.images()
        for image in IMAGES:
            stored = layers.find(image.name)
            if stored is None or loaded.get(image.name) == stored.digest:
                continue
            archive = config.CACHE / f"{image.tag}.image.tar"
            with step(f"load {image.name}"):
                try:
                    layers.write_archive(stored, image.name, store.blobs(), archive)
                    store.load_archive(archive)
                finally:
                    archive.unlink(missing_ok=True)


def built() -> bool:
    return all(layers.find(image.name) for image in IMAGES)


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


def _base_name(release: str) -> str:
    return f"localhost/debian:{release}"


def _bootstrap(release: str) -> None:
    name = _base_name(release)
    if succeeds(layers.buildah("inspect", "--type", "image", name)):
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
        container = output(layers.buildah("from", "scratch")).strip()
        try:
            run(layers.buildah("add", "--quiet", container, str(archive), "/"), log=log)
            run(layers.buildah("config", "--cmd", "bash", container), log=log)
            run(layers.buildah("commit", "--quiet", "--disable-compression", container, name), log=log)
        finally:
            run(layers.buildah("rm", container), log=log)
            archive.unlink(missing_ok=True)


def _build(image: Image) -> Path:
    log = fresh_log(f"image-{image.tag}")
    settings = config.RUN / "pip.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("[global]\ncert = /etc/build-ca.crt\n" if _HOST_CERTIFICATES.exists() else "")
    authority = _HOST_CERTIFICATES if _HOST_CERTIFICATES.exists() else settings
    bases = [f"--build-arg={argument}={_base_name(release)}" for argument, release in _BASES.items()]
    with step(f"image {image.name}", log):
        run(layers.buildah(
            "build", "--isolation", "chroot", "--network", "host", "--layers", "--pull-never",
            "--secret", f"id=pip.conf,src={settings}", "--secret", f"id=ca.crt,src={authority}",
            *bases, f"--build-arg=PG_MAJOR={image.major}", "--target", image.target, "--tag", image.name,
            str(config.CHECKOUT),
        ), log=log)  # fmt: skip
    return log


def _remove_outdated(logs: list[Path]) -> None:
    """Removes steps of earlier builds, which would fill the disk: all that the last builds didn't name.

    buildah's own pruning takes the steps that no image descends from too, such as the installed
    Python packages, from which layers are copied, and the next build would fetch them again.
    """
    used = {identity[:11] for log in logs for identity in _STEP.findall(log.read_text())}
    found = json.loads(output(layers.buildah("images", "--all", "--json")))
    outdated = [image["id"] for image in found if not image["names"] and image["id"][:11] not in used]
    if len(outdated) < _OUTDATED_STEPS_KEPT:
        return
    # A step can go once those built on it are gone; the newest come first.
    for identity in outdated:
        succeeds(layers.buildah("rmi", identity))
