"""Incident reports of real restores: in a ConfigMap, in the store, in a person's shell; and what can be recovered."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.support.cluster import ROOT
from tests.support.place import Body, Place, condition, is_reported
from tests.support.shell import Shell

pytestmark = pytest.mark.timeout(600)

NAMES = ("operational-again", "modern-again")
ON_CLAIM = ("--store", "claim", "--cluster", "operational")


@pytest.fixture(scope="module")
def reported(restored: dict[str, Body], platform: Place) -> dict[str, Body]:
    """Restores whose reports are where they belong: one out of a claim, one out of an encrypted bucket."""
    return {name: platform.until("restorerequest", name, is_reported) for name in NAMES}


@pytest.fixture(scope="module")
def shell(reported: dict[str, Body], platform: Place, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Of somebody who may do what the documentation lists, and nothing else."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/restore-points.md").read_text(), re.DOTALL)
    (role,) = (body for body in map(yaml.safe_load, blocks) if body["kind"] == "Role")
    return Shell.of(platform, tmp_path_factory.mktemp("shell")).account("rescuer", role["rules"])


def done(shell: Shell, *arguments: str) -> str:
    ended = shell.pgwarden("restore", *arguments)
    assert ended.returncode == 0, f"{arguments}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def test_the_report_is_in_a_config_map_that_nothing_owns_and_in_the_store(
    reported: dict[str, Body], platform: Place
) -> None:
    for name, body in reported.items():
        filed = body["status"]["report"]
        kept = platform.get("configmap", filed["configMap"])
        assert filed["configMap"] == f"{name}-report"
        assert "ownerReferences" not in kept["metadata"]
        assert filed["message"] == ""
        end = "report.md.age" if name == "modern-again" else "report.md"
        assert filed["path"].endswith(f"/restores/{body['metadata']['uid']}/{end}")


def test_the_report_tells_what_the_status_knows(reported: dict[str, Body], platform: Place, shell: Shell) -> None:
    for name, body in reported.items():
        text = done(shell, "report", name)
        assert text == platform.get("configmap", f"{name}-report")["data"]["report.md"]
        status = body["status"]
        assert "completed (Completed)" in text.splitlines()[0]
        assert "| asked by | the tests (not verified) |" in text
        assert f"| restore point reached | {status['restoredTo']} on timeline {status['timeline']}" in text
        assert all(f"| {step['name']} | Done |" in text for step in status["steps"])
        assert "| it is the right database | passed | " in text
        assert status["host"] in text


def test_restores_are_listed_and_shown_with_their_steps(reported: dict[str, Body], shell: Shell) -> None:
    lines = done(shell, "list").splitlines()
    assert lines[0].split()[0] == "NAME"
    for name, body in reported.items():
        assert any(line.startswith(name) and "Completed" in line and "the tests" in line for line in lines)
        shown = done(shell, "show", name)
        assert all(step["name"] in shown for step in body["status"]["steps"])
        assert condition(body, "Ready")["message"] in shown
    assert {each["metadata"]["name"] for each in json.loads(done(shell, "list", "--json"))} >= set(reported)


def test_what_a_job_says_can_be_recovered_is_where_the_restore_came_to(
    reported: dict[str, Body], backups: dict[str, Body], shell: Shell
) -> None:
    found = json.loads(done(shell, "points", *ON_CLAIM, "--json"))
    (line,) = found["timelines"]
    ended = backups["operational-claim"]["status"]
    assert (line["timeline"], line["newest"], found["troubles"]) == (ended["timeline"], True, [])
    assert ended["stopLSN"] in {part["startLsn"] for part in line["stretches"]}
    told = json.loads(done(shell, "points", *ON_CLAIM, "--at", ended["completionTime"], "--json"))["way"]
    assert (told["reachable"], told["chain"]) == (True, [ended["backupID"]])
    refused = shell.pgwarden("restore", "points", *ON_CLAIM, "--at", "2020-01-01T00:00:00Z")
    assert refused.returncode == 1
    assert "cannot be recovered (TargetBeforeFirstBackup)" in refused.stdout


def test_without_the_rights_it_is_said_which_are_missing(shell: Shell) -> None:
    stranger = shell.account("passer-by", [])
    said = stranger.pgwarden("restore", "report", "operational-again").stderr
    assert 'cannot get resource "restorerequests"' in said
    assert "docs/restore-points.md" in said
