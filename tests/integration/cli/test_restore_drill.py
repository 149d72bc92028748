"""`pgwarden restore drill` as a process, over real HTTP: what is asked for, each step once, and how it ended."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.cli.test_backup_expire import kubeconfig
from tests.support.api_objects import ApiServer
from tests.support.loopback import Answer, Asked, loopback
from tests.support.objects import NAMESPACE, Body, body, condition
from tests.unit.policies.bodies import policy

STEP = {"name": "Fetch", "state": "Done", "startTime": "2026-11-23T11:00:00Z", "completionTime": "2026-11-23T11:00:05Z"}
RUNNING = {"steps": [STEP, {"name": "Verify", "state": "Running"}], "conditions": [condition("Ready", "False")]}


def drill(*arguments: str, config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgwarden", "restore", "drill", *arguments],
        env={**os.environ, "PYTHONPATH": str(Path("operator").resolve()), "KUBECONFIG": str(config)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@dataclass
class Answering:
    """An API server whose operator works on a drill as often as it is looked at, and then says how it ended."""

    server: ApiServer
    ending: Body
    looks: int = 0

    def answer(self, asked: Asked) -> Answer:
        if asked.path.endswith(f"/namespaces/{NAMESPACE}"):
            return 200, {"metadata": {"name": NAMESPACE}}
        asked_for = [key for key in self.server.objects if key[0] == "restorerequests"]
        if asked.method == "GET" and asked_for and "/restorerequests/" in asked.path:
            self.looks += 1
            made = self.server.objects[asked_for[0]]
            self.server.keep(*asked_for[0], {**made, "status": RUNNING if self.looks < 3 else self.ending})
        return self.server.answer(asked)


WELL: Body = {
    "steps": [STEP, {**STEP, "name": "Verify", "message": "all of it"}],
    "conditions": [condition("Ready", "True", "Completed", message="the drill came to 0/1")],
    "completionTime": "2026-11-23T11:01:00Z",
    "recoverySeconds": 42,
    "dataLossSeconds": 3,
    "restoredTo": "0/1",
}
BADLY: Body = {
    "steps": [STEP, {"name": "Verify", "state": "Failed"}],
    "conditions": [
        condition("Ready", "False", "VerificationFailed", message="a file differs"),
        condition("Stalled", "True", "VerificationFailed"),
    ],
}


def answering(ending: Body) -> Answering:
    it = Answering(ApiServer(), ending)
    made = policy(drill={"schedule": "0 4 * * 0", "image": "postgres:17"})
    it.server.keep("backuppolicies", "operational", body("BackupPolicy", "operational", made.spec.to_json()))
    return it


def made_by(it: Answering) -> Body:
    (found,) = (made for (plural, _), made in it.server.objects.items() if plural == "restorerequests")
    return found


async def test_it_is_made_as_the_policy_makes_its_own_and_followed_to_its_end(tmp_path: Path) -> None:
    it = answering(WELL)
    async with loopback(it.answer) as api:
        config = kubeconfig(api, tmp_path / "kubeconfig")
        done = await asyncio.to_thread(drill, "--policy", "operational", "--size", "3Gi", config=config)
    assert done.returncode == 0, done.stderr
    made = made_by(it)
    assert (made["metadata"]["namespace"], made["metadata"]["labels"]["pgwarden.dev/policy"]) == (
        NAMESPACE,
        "operational",
    )
    storage = {"size": "3Gi"}
    assert made["spec"]["target"]["drill"] == {"image": "postgres:17", "storage": storage}
    first, *steps, last = done.stdout.splitlines()
    assert first == f"restorerequest.pgwarden.dev/{made['metadata']['name']} created"
    assert [line.split() for line in steps] == [["Fetch", "5s"], ["Verify", "5s", "all", "of", "it"]]
    assert last == f"{made['metadata']['name']}: the drill came to 0/1"


async def test_one_that_failed_ends_with_1_and_says_why(tmp_path: Path) -> None:
    it = answering(BADLY)
    async with loopback(it.answer) as api:
        config = kubeconfig(api, tmp_path / "kubeconfig")
        done = await asyncio.to_thread(drill, "--policy", "operational", "--json", config=config)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["succeeded"], told["reason"], told["message"]) == (False, "VerificationFailed", "a file differs")
    assert [line.split() for line in done.stderr.splitlines()[1:]] == [["Fetch", "5s"], ["Verify", "FAILED"]]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "DrillNotNamed"),
        (("--policy", "operational", "--backup", "nightly"), "DrillNotNamed"),
        (("--policy", "nobody"), "ObjectNotFound"),
        (("--backup", "nobody"), "ObjectNotFound"),
        (("--policy", "operational", "--at", "yesterday"), "NotATime"),
    ],
)
async def test_what_leads_nowhere_is_refused_before_anything_is_made(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    it = answering(WELL)
    async with loopback(it.answer) as api:
        done = await asyncio.to_thread(drill, *arguments, config=kubeconfig(api, tmp_path / "kubeconfig"))
    assert done.returncode == 1
    assert f"error: {reason}: " in done.stderr and "what to do: " in done.stderr
    assert not [plural for plural, _ in it.server.objects if plural == "restorerequests"]


async def test_nobody_has_to_wait(tmp_path: Path) -> None:
    it = answering(WELL)
    async with loopback(it.answer) as api:
        config = kubeconfig(api, tmp_path / "kubeconfig")
        done = await asyncio.to_thread(drill, "--policy", "operational", "--no-wait", config=config)
    assert (done.returncode, it.looks) == (0, 0)
    assert done.stdout == f"restorerequest.pgwarden.dev/{made_by(it)['metadata']['name']} created\n"
