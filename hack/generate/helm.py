"""Where helm is: HELM, the PATH, or among the programs of the development cluster."""

from __future__ import annotations

import os
import shutil
import subprocess

from hack.generate.output import ROOT

FRONT_DOOR = ROOT / "hack/cluster/cluster"


class HelmMissing(Exception):
    """There is no helm: put one on the PATH, or have `make cluster-up` build one."""


def find_helm() -> str:
    """The program's path. Raises HelmMissing."""
    found = os.environ.get("HELM") or shutil.which("helm") or of_the_cluster()
    if not found:
        raise HelmMissing(HelmMissing.__doc__)
    return found


def of_the_cluster() -> str:
    """The one that the development cluster was built with; empty when it was not built."""
    shell = 'eval "$("$0" env)" && command -v helm'
    done = subprocess.run(["sh", "-c", shell, str(FRONT_DOOR)], capture_output=True, text=True, check=False)
    return done.stdout.strip()
