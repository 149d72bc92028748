"""Debian's packages: which are needed, and installing those that are missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from .steps import ClusterError, run

# What must be there, and the package it comes in. A path is looked for as it is.
_NEEDED = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "ip": "iproute2",
    "ps": "procps",
    "mount": "mount",
    "nsenter": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "openssl": "openssl",
    "mmdebstrap": "mmdebstrap",
    "buildah": "buildah",
}
_LISTS = Path("/var/lib/apt/lists")
_POLICY = Path("/usr/sbin/policy-rc.d")
_A_DAY = 86400


def missing() -> list[str]:
    """The packages to be installed."""
    absent = {package for program, package in _NEEDED.items() if not _present(program)}
    return sorted(absent)


def install(packages: list[str], log: Path) -> None:
    if shutil.which("apt-get") is None:
        raise ClusterError(f"these Debian packages are missing, and there is no apt-get: {' '.join(packages)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    if _lists_are_old():
        run(["apt-get", "update", "-q"], log=log, env=quiet)
    with _services_stay_off():
        run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], log=log, env=quiet)


def _present(program: str) -> bool:
    if program.startswith("/"):
        return Path(program).exists()
    # Tools for root may be outside an ordinary user's path.
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None


def _lists_are_old() -> bool:
    lists = [path.stat().st_mtime for path in _LISTS.glob("*_Packages*")]
    return not lists or time.time() - max(lists) > _A_DAY


@contextlib.contextmanager
def _services_stay_off() -> Iterator[None]:
    """Debian starts what it installs; this cluster's containerd is its own."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
