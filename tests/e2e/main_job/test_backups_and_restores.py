"""Backups to a claim and to a bucket, plain and encrypted, of PostgreSQL 17 and 18, and what restores make of them."""

from __future__ import annotations

import pytest

from tests.support.history import History
from tests.support.place import Body, Place, condition, holds, is_stalled, restore, thing

pytestmark = pytest.mark.timeout(600)

RESTORED = {"operational-again": "operational", "analytics-again": "analytics", "modern-again": "modern"}


def test_a_finished_backup_tells_what_it_is(backups: dict[str, Body], platform: Place) -> None:
    for name, body in backups.items():
        status = body["status"]
        cluster = platform.get("databasecluster", body["spec"]["clusterRef"]["name"])["status"]
        assert condition(body, "Restorable")["status"] == "True"
        assert status["systemIdentifier"] == cluster["systemIdentifier"]
        assert status["postgresVersion"] == cluster["version"]
        assert status["timeline"] == cluster["timeline"]
        assert 0 < status["storedBytes"] < status["plainBytes"]
        assert status["encrypted"] is name.endswith("-vault")
        assert status["location"].endswith(status["backupID"])
        assert f"restorable up to {status['stopLSN']}" in condition(body, "Ready")["message"]
    majors = {body["status"]["postgresVersion"].split(".")[0] for body in backups.values()}
    assert majors == {"17", "18"}


def test_bytes_and_percent_show_while_a_backup_runs(backups: dict[str, Body], history: History) -> None:
    versions = history.versions("databasebackups", "modern-vault")
    running = [body["status"]["progress"] for body in versions if "progress" in body.get("status", {})]
    between = [progress for progress in running if 0 < progress["percent"] < 100]
    assert between, running
    assert between[0]["unit"] == "bytes"
    assert 0 < between[0]["done"] < between[0]["total"]
    assert "progress" not in backups["modern-vault"]["status"]


def test_two_backups_of_one_cluster_take_turns(backups: dict[str, Body], history: History) -> None:
    spans = []
    for name in ("operational-claim", "operational-vault"):
        reasons = [condition(body, "Ready").get("reason") for body in history.versions("databasebackups", name)]
        spans.append("Queued" in reasons)
    assert spans.count(True) == 1
    first, second = sorted(
        (backups[name]["status"] for name in ("operational-claim", "operational-vault")), key=lambda s: s["startTime"]
    )
    assert first["completionTime"] <= second["startTime"]


def test_what_was_lost_is_back_in_the_new_instance(
    restored: dict[str, Body], before: dict[str, dict[str, str]], platform: Place
) -> None:
    for instance, cluster in RESTORED.items():
        password = platform.secret(f"{instance}-superuser")["password"]
        assert platform.fingerprints(f"{instance}-0", cluster, password=password) == before[cluster]
        assert platform.fingerprints(f"{cluster}-0", cluster) != before[cluster]


def test_a_restored_instance_runs_the_version_it_was_backed_up_from(restored: dict[str, Body], platform: Place) -> None:
    for instance, cluster in RESTORED.items():
        password = platform.secret(f"{instance}-superuser")["password"]
        version = platform.get("databasecluster", cluster)["status"]["version"]
        answer = platform.ask(f"{instance}-0", "SHOW server_version", password=password)
        assert answer.split()[0] == version
        assert platform.ask(f"{instance}-0", "SELECT pg_is_in_recovery()", password=password) == "f"


def test_a_new_instance_is_watched_and_is_no_duplicate_of_its_original(
    restored: dict[str, Body], platform: Place
) -> None:
    for instance, cluster in RESTORED.items():
        body = platform.until("databasecluster", instance, holds("Reachable"))
        original = platform.get("databasecluster", cluster)["status"]
        assert condition(body, "Ready")["reason"] == "Accepted", body["status"]
        assert body["status"]["systemIdentifier"] == original["systemIdentifier"]
        assert body["status"]["restoreToken"] != original["restoreToken"]
        assert condition(platform.get("databasecluster", cluster), "DuplicateOf")["status"] == "False"


def test_a_finished_restore_tells_where_it_is_and_every_step(restored: dict[str, Body], platform: Place) -> None:
    for name, body in restored.items():
        status = body["status"]
        assert status["host"] == f"{name}.{platform.namespace}.svc"
        assert status["secretName"] == f"{name}-superuser"
        assert status["checksPassed"] >= len(body["spec"]["checks"]) == 2
        assert status["step"] == "Done"
        assert {step["state"] for step in status["steps"]} == {"Done"}
        ready = condition(body, "Ready")["message"]
        assert status["host"] in ready and status["restoredTo"] in ready and status["secretName"] in ready


def test_the_steps_of_a_restore_show_while_it_works(restored: dict[str, Body], history: History) -> None:
    seen = {body.get("status", {}).get("step") for body in history.versions("restorerequests", "modern-again")}
    assert "StartInstance" in seen
    assert seen - {None, "", "StartInstance", "Done"}, f"nothing of the pod's own steps was seen: {seen}"


def test_the_new_instance_outlives_its_request_and_the_request_is_not_carried_out_twice(
    restored: dict[str, Body], platform: Place
) -> None:
    spec = restored["analytics-again"]["spec"]
    password = platform.secret("analytics-again-superuser")["password"]
    platform.ask("analytics-again-0", "CREATE TABLE since (id int)", "analytics", password=password)
    volume = platform.get("persistentvolumeclaim", "data-analytics-again-0")["spec"]["volumeName"]
    platform.kubectl("delete", "restorerequest", "analytics-again", "--cascade=foreground", "--timeout=120s")
    platform.apply(thing("RestoreRequest", "analytics-again", spec))
    message = platform.said("restorerequest", "analytics-again", "Stalled", "NameTaken")
    for taken in ("StatefulSet analytics-again", "Service analytics-again", "PersistentVolumeClaim data-analytics-a"):
        assert taken in message, message
    assert "Choose another name in a new RestoreRequest" in message
    assert platform.get("persistentvolumeclaim", "data-analytics-again-0")["spec"]["volumeName"] == volume
    assert platform.ask("analytics-again-0", "SELECT count(*) FROM since", "analytics", password=password) == "0"


def test_a_claim_that_is_too_small_is_refused_before_anything_is_made(
    backups: dict[str, Body], platform: Place
) -> None:
    platform.apply(restore("tiny", "modern-vault", size="64Mi"))
    body = platform.until("restorerequest", "tiny", is_stalled)
    stalled = condition(body, "Stalled")
    assert stalled["reason"] == "VolumeTooSmall"
    assert "64Mi is too small: restoring and recovering the backup takes at least" in stalled["message"]
    assert "Make a new RestoreRequest with a larger claim" in stalled["message"]
    for kind, name in (("job", "tiny"), ("persistentvolumeclaim", "data-tiny-0"), ("secret", "tiny-superuser")):
        assert not [each for each in platform.list(kind) if each["metadata"]["name"].startswith(name)]
