"""A recovered copy is looked at by the very lines that are told, then takes the place of the old data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.cluster import ROOT, Cluster
from tests.support.place import Place, condition, is_ready, is_stalled

from .test_in_place import COUNT, in_place, runs_as_before

pytestmark = pytest.mark.timeout(900)

GOES_ON_WITHIN_SECONDS = 120


def typed(cluster: Cluster, plugins: Path, line: str, text: str = "") -> str:
    """What a line prints that somebody copies into a shell."""
    plugin = plugins / "kubectl-pgwarden"
    plugin.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pgwarden "$@"\n')
    plugin.chmod(0o755)
    path = f"{plugins}{os.pathsep}{cluster.environment['PATH']}"
    environment = {**cluster.environment, "PATH": path, "PYTHONPATH": str(ROOT / "operator")}
    done = subprocess.run(
        ["sh", "-c", line], env=environment, input=text, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_copy_is_looked_at_by_the_lines_that_are_told(
    premises: Place, cluster: Cluster, operator: str, tmp_path: Path
) -> None:
    premises.ask("analytics-0", "CREATE TABLE after_the_backup (id int)", "analytics")
    premises.apply(in_place(premises, "looked-at", "analytics", inspect={}))
    message = premises.said("restorerequest", "looked-at", "Ready", "Inspecting", seconds=400)
    look, proceed, cancel = re.findall(r"kubectl .*?(?= \. |$)", message)
    assert cancel.startswith("kubectl pgwarden restore cancel looked-at --namespace ")

    def ask(query: str) -> str:
        return typed(cluster, tmp_path, look, f"\\connect analytics\n\\pset format unaligned\n{query};\n")

    assert "\n20000\n" in ask(COUNT)
    assert "\nt\n" in ask("SELECT to_regclass('after_the_backup') IS NULL AS gone")
    cluster.kubectl("delete", "pod", "-n", operator, "-l", "app.kubernetes.io/name=pgwarden", "--wait=false")
    began = time.monotonic()
    told = typed(cluster, tmp_path, proceed)
    seconds = time.monotonic() - began
    print(f"it goes on {seconds:.0f} s after proceed: {told}")
    assert seconds < GOES_ON_WITHIN_SECONDS
    body = premises.until("restorerequest", "looked-at", lambda b: is_ready(b) or is_stalled(b), seconds=400)
    assert is_ready(body), condition(body, "Stalled")
    steps = {step["name"]: step for step in body["status"]["steps"]}
    assert steps["Inspect"]["message"].startswith("told to go on after ")
    runs_as_before(premises)
    assert premises.ask("analytics-0", COUNT, "analytics") == "20000"
    assert premises.ask("analytics-0", "SELECT to_regclass('after_the_backup') IS NULL", "analytics") == "t"
