"""`pgwarden backup expire`: only judged in a store that the shell opens itself; in a cluster a wish with an answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pgwarden.jobs.files import ClaimLocation, StoreLocation
from tests.integration.cli.test_backup import pgwarden
from tests.support.api_objects import ApiServer
from tests.support.archive import Archived
from tests.support.backups import take_backup
from tests.support.loopback import Answer, Asked, Loopback, loopback
from tests.support.objects import NAMESPACE, Body, backup, condition, restorable_backup
from tests.support.postgres import PostgresServer


def test_what_would_go_from_a_folder_is_told_and_not_done(postgres17: PostgresServer, tmp_path: Path) -> None:
    location = StoreLocation(claim=ClaimLocation(path=str(tmp_path)))
    record = take_backup(postgres17.address(), location)[1]
    before = Archived(location).names()
    done = pgwarden("expire", record.backup_id, "--dry-run", "--store", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"{record.backup_id} would be deleted" in done.stdout
    refused = pgwarden("expire", record.backup_id, "--store", str(tmp_path))
    assert (refused.returncode, "DryRunOnly" in refused.stderr) == (1, True)
    assert Archived(location).names() == before


def kubeconfig(api: Loopback, path: Path) -> Path:
    """A kubeconfig that leads to the server on loopback."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{api.port}"}}],
        "users": [{"name": "here", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here", "namespace": NAMESPACE}}],
        "current-context": "here",
    }
    path.write_text(yaml.safe_dump(content))
    return path


@dataclass
class Answering:
    """An API server whose operator says `conclusion` as soon as the wish is set."""

    server: ApiServer
    conclusion: Body

    def answer(self, asked: Asked) -> Answer:
        found = self.server.answer(asked)
        if asked.method == "PATCH":
            made = self.server.objects["databasebackups", "nightly"]
            status = {**made["status"], "conditions": [self.conclusion]}
            self.server.keep("databasebackups", "nightly", {**made, "status": status})
        return found


@pytest.mark.parametrize(("status", "reason", "code"), [("True", "Expired", 0), ("False", "WindowNeedsIt", 1)])
async def test_the_wish_is_set_and_the_operators_answer_waited_for(
    tmp_path: Path, status: str, reason: str, code: int
) -> None:
    conclusion = condition("Expired", status, reason, message="judged", observedGeneration=2)
    it = Answering(ApiServer(), conclusion)
    async with loopback(it.answer) as api:
        old = condition("Expired", "False", "WindowNeedsIt", message="an answer of before", observedGeneration=1)
        made = restorable_backup(conditions=[condition("Ready", "True"), condition("Restorable", "True"), old])
        it.server.keep("databasebackups", "nightly", made.to_json())
        environment = {"KUBECONFIG": str(kubeconfig(api, tmp_path / "kubeconfig"))}
        done = await asyncio.to_thread(pgwarden, "expire", "nightly", "--timeout", "60", **environment)
    assert it.server.objects["databasebackups", "nightly"]["spec"]["expire"] is True
    assert (done.returncode, done.stdout) == (code, "nightly: judged\n"), done.stderr


async def test_one_that_is_being_taken_is_left_alone(tmp_path: Path) -> None:
    server = ApiServer()
    async with loopback(server.answer) as api:
        server.keep("databasebackups", "nightly", backup().to_json())
        environment = {"KUBECONFIG": str(kubeconfig(api, tmp_path / "kubeconfig"))}
        done = await asyncio.to_thread(pgwarden, "expire", "nightly", **environment)
    assert (done.returncode, "NotFinished" in done.stderr) == (1, True)
    assert not [asked for asked in api.asked if asked.method == "PATCH"]
