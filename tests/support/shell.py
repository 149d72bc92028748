"""`pgwarden` as a person types it, by itself and as a plugin of kubectl, with a kubeconfig of that person's own.

shell = Shell.of(place, folder)                      # with the rights of whoever started the cluster
shell.pgwarden("backup", "list", "--policy", "x")    # CompletedProcess
shell.kubectl("pgwarden", "backup", "list")          # the same as a plugin
shell.account("reader", rules)                       # another person, who may do only that
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.cluster import ROOT
from tests.support.place import Body, Place

SECONDS = 240
SCRIPT = """#!{python}
import sys
from {module} import {function}
sys.exit({function}())
"""


@dataclass(frozen=True)
class Shell:
    """A shell whose kubeconfig leads to a namespace."""

    place: Place
    folder: Path
    kubeconfig: Path

    @classmethod
    def of(cls, place: Place, folder: Path) -> Shell:
        """The shell of somebody who may do everything."""
        programs = folder / "bin"
        programs.mkdir()
        for name, target in entry_points().items():
            module, _, function = target.partition(":")
            (programs / name).write_text(SCRIPT.format(python=sys.executable, module=module, function=function))
            (programs / name).chmod(0o755)
        config = yaml.safe_load(place.kubectl("config", "view", "--raw", "--minify", "--flatten"))
        config["contexts"][0]["context"]["namespace"] = place.namespace
        return cls(place, folder, written(folder / "kubeconfig", config))

    def account(self, name: str, rules: Sequence[Body]) -> Shell:
        """The shell of a ServiceAccount of that name with these rights in the namespace, made now."""
        metadata = {"name": name}
        group = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": name, "namespace": self.place.namespace}
        self.place.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": list(rules)},
            {
                "apiVersion": f"{group}/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
                "subjects": [subject],
            },
        )
        config = yaml.safe_load(self.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": self.place.kubectl("create", "token", name).strip()}
        return Shell(self.place, self.folder, written(self.folder / f"kubeconfig-{name}", config))

    def pgwarden(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("pgwarden", *arguments)

    def kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("kubectl", *arguments)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            **self.place.cluster.environment,
            "KUBECONFIG": str(self.kubeconfig),
            "PYTHONPATH": str(ROOT / "operator"),
        }
        environment["PATH"] = f"{self.folder / 'bin'}:{environment['PATH']}"
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)


def entry_points() -> dict[str, str]:
    """The programs that an installation of pgwarden has: name -> module:function."""
    scripts: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    return scripts


def written(path: Path, config: dict[str, Any]) -> Path:
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path


def table(text: str) -> list[dict[str, str]]:
    """The rows of what `kubectl get` has printed, of several kinds if need be: heading -> cell."""
    rows: list[dict[str, str]] = []
    headings: list[tuple[str, int]] = []
    for line in text.splitlines():
        if not line.strip():
            headings = []
        elif not headings:
            headings = columns(line)
        else:
            ends = [*(start for _, start in headings[1:]), len(line)]
            rows.append({name: line[start:end].strip() for (name, start), end in zip(headings, ends, strict=True)})
    return rows


def columns(line: str) -> list[tuple[str, int]]:
    """The headings of a line and where each begins: two spaces and more lie between them."""
    found, at = [], 0
    for name in line.split("  "):
        if name.strip():
            found.append((name.strip(), at + len(name) - len(name.lstrip())))
        at += len(name) + 2
    return found
