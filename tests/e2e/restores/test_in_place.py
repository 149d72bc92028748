"""The data of a sample database are replaced in their own place, put back, and refused, with real pods and volumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.cluster import Cluster
from tests.support.place import MODEST, Body, Place, condition, holds, is_ready, is_reported, is_stalled, thing
from tests.support.postgres import RESTORE_TOKEN
from tests.support.sample_servers import rolled_out

from .conftest import SERVICE

pytestmark = pytest.mark.timeout(900)

RECORD = "pgwarden.dev/stopped-by-restore"
MARK = "pgwarden.dev/restoring"
POLICY = "analytics"
COUNT = "SELECT count(*) FROM bookings"


def token(place: Place, name: str) -> str:
    """The restoreToken of a cluster, once its status tells what the server says."""
    said = place.ask(f"{name}-0", RESTORE_TOKEN)
    place.until("databasecluster", name, lambda body: body["status"].get("restoreToken") == said)
    return said


def in_place(place: Place, name: str, cluster: str, **spec: Any) -> Body:
    """A RestoreRequest that replaces what a cluster has now by its backup."""
    target = {"inPlace": {"replaces": token(place, cluster)}}
    source = {"backupRef": {"name": f"{cluster}-full"}}
    modest = {"resources": {"requests": {"cpu": "1m", "memory": "64Mi"}}}
    return thing("RestoreRequest", name, {"source": source, "target": target, "jobTemplate": modest} | spec)


def notes_on(place: Place, kind: str, name: str) -> dict[str, str]:
    found: dict[str, str] = place.get(kind, name)["metadata"].get("annotations") or {}
    return found


def runs_as_before(place: Place) -> None:
    rolled_out(place, "analytics")
    place.kubectl("rollout", "status", f"deployment/{SERVICE}", "--timeout=120s")
    assert place.get("deployment", SERVICE)["spec"]["replicas"] == 2
    for kind, name in (("statefulset", "analytics"), ("deployment", SERVICE)):
        assert RECORD not in notes_on(place, kind, name)
    assert MARK not in notes_on(place, "persistentvolumeclaim", "data-analytics-0")


def at_step(*names: str) -> Callable[[Body], bool]:
    """Whether a restore is at one of these steps, or has ended."""
    return lambda body: body.get("status", {}).get("step") in names or is_ready(body) or is_stalled(body)


@pytest.fixture
def protected(premises: Place) -> Iterator[Place]:
    """A policy takes fulls of `analytics` and archives its WAL."""
    spec = {
        "clusterRef": {"name": "analytics"},
        "storeRef": {"name": "claim"},
        "schedules": {"full": {"schedule": "0 0 1 1 *"}},
        "wal": {"enabled": True, "tailSeconds": 1, **MODEST},
        "jobTemplate": MODEST,
    }
    premises.apply(thing("BackupPolicy", POLICY, spec))
    premises.until("backuppolicy", POLICY, lambda body: "lastFull" in body.get("status", {}))
    premises.until("backuppolicy", POLICY, holds("WALArchiving"))
    yield premises
    premises.kubectl("delete", "backuppolicy", POLICY, "--timeout=60s")


def test_archive_and_policy_go_on_without_a_hand(protected: Place) -> None:
    protected.apply(in_place(protected, "goes-on", "analytics"))
    body = protected.until("restorerequest", "goes-on", lambda b: is_ready(b) or is_stalled(b), seconds=600)
    assert is_ready(body), condition(body, "Stalled")
    status = body["status"]
    step = next(each for each in status["steps"] if each["name"] == "ArchiveTimeline")
    timeline = status["timeline"]
    assert step["message"] == (
        f"the history file of timeline {timeline} and its WAL from the beginning on are archived by {POLICY}"
    )
    runs_as_before(protected)
    (full,) = status["inPlace"]["fulls"]
    made = protected.until("databasebackup", full, is_ready)
    assert made["status"]["timeline"] == timeline
    reported = protected.until("restorerequest", "goes-on", is_reported)["status"]["report"]["configMap"]
    report = protected.get("configmap", reported)["data"]["report.md"]
    assert f"kubectl get databasebackup {full}" in report
    assert "| data window lost |" in report
    wal = protected.get("backuppolicy", POLICY)["status"]["wal"]
    assert (wal["archivedTimeline"], wal["archive"], wal["gaps"]) == (timeline, "0001", 0)


def test_what_was_lost_is_back_where_it_was(premises: Place) -> None:
    premises.ask("analytics-0", "DELETE FROM bookings WHERE i > 5", "analytics")
    before = token(premises, "analytics")
    premises.apply(in_place(premises, "rescue", "analytics"))
    body = premises.until("restorerequest", "rescue", lambda b: is_ready(b) or is_stalled(b), seconds=600)
    assert is_ready(body), condition(body, "Stalled")
    status = body["status"]
    assert {step["state"] for step in status["steps"]} == {"Done"}
    assert status["inPlace"]["oldData"].startswith("/data/pgdata.before-")
    runs_as_before(premises)
    assert premises.ask("analytics-0", COUNT, "analytics") == "20000"
    after = premises.until("databasecluster", "analytics", lambda b: b["status"]["restoreToken"] != before)
    assert after["status"]["systemIdentifier"] == before.partition("-")[0]
    old = premises.kubectl("exec", "analytics-0", "--", "ls", status["inPlace"]["oldData"])
    assert "PG_VERSION" in old.split()


def test_the_same_manifest_applied_again_is_refused(premises: Place) -> None:
    spec = premises.get("restorerequest", "rescue")["spec"]
    premises.ask("analytics-0", "CREATE TABLE since (id int)", "analytics")
    premises.kubectl("delete", "restorerequest", "rescue", "--cascade=foreground", "--timeout=120s")
    premises.apply(thing("RestoreRequest", "rescue", spec))
    message = premises.said("restorerequest", "rescue", "Stalled", "ReplacesAnother")
    assert "copy status.restoreToken" in message
    assert premises.get("statefulset", "analytics")["spec"]["replicas"] == 1
    assert premises.ask("analytics-0", "SELECT count(*) FROM since", "analytics") == "0"


def test_a_failed_check_puts_everything_back(premises: Place) -> None:
    rows = premises.ask("analytics-0", COUNT, "analytics")
    checks = [{"name": "never", "database": "analytics", "query": "SELECT 1", "expect": "2"}]
    premises.apply(in_place(premises, "doomed", "analytics", checks=checks))
    body = premises.until("restorerequest", "doomed", is_stalled, seconds=600)
    assert condition(body, "Stalled")["reason"] == "CheckFailed"
    states = {step["name"]: step["state"] for step in body["status"]["steps"]}
    assert (states["PutBack"], states["HandOver"]) == ("Done", "Pending")
    runs_as_before(premises)
    assert premises.ask("analytics-0", COUNT, "analytics") == rows
    assert premises.ask("analytics-0", "SELECT count(*) FROM since", "analytics") == "0"


def test_whoever_is_still_connected_is_named_and_the_services_start_again(premises: Place) -> None:
    session = "psql --username=postgres --command='SELECT pg_sleep(900)' analytics"
    premises.kubectl("exec", "analytics-0", "--", "sh", "-c", f"nohup {session} >/dev/null 2>&1 &")
    target = {"inPlace": {"replaces": token(premises, "analytics"), "connectionsTimeoutSeconds": 1}}
    premises.apply(in_place(premises, "crowded", "analytics", target=target))
    message = premises.said("restorerequest", "crowded", "Stalled", "ConnectionsRemain")
    assert "user postgres, database analytics, application psql" in message
    premises.ask("analytics-0", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%sleep(900)'")
    runs_as_before(premises)
    assert premises.get("statefulset", "analytics")["status"]["currentReplicas"] == 1


@pytest.mark.parametrize(
    "step",
    [pytest.param("StopServer", marks=pytest.mark.long), pytest.param("Fetch", marks=pytest.mark.long), "Recover"],
)
def test_a_cancelled_restore_puts_everything_back(premises: Place, step: str) -> None:
    name = f"cancelled-{step.lower()}"
    premises.apply(in_place(premises, name, "analytics"))
    premises.until("restorerequest", name, at_step(step, "Recover", "HandOver"))
    premises.kubectl("patch", "restorerequest", name, "--type=merge", "--patch", '{"spec": {"cancel": true}}')
    body = premises.until("restorerequest", name, lambda b: is_ready(b) or is_stalled(b), seconds=600)
    runs_as_before(premises)
    restored = premises.ask("analytics-0", "SELECT to_regclass('since') IS NULL", "analytics") == "t"
    # One that had handed over already is finished, and says so.
    assert restored == is_ready(body)
    if restored:
        premises.ask("analytics-0", "CREATE TABLE since (id int)", "analytics")


def test_a_server_that_somebody_starts_in_the_middle_makes_no_data_of_its_own(premises: Place) -> None:
    premises.apply(in_place(premises, "meddled", "analytics"))
    premises.until("restorerequest", "meddled", at_step("KeepOld", "Fetch", "Verify", "Recover"))
    premises.kubectl("scale", "statefulset/analytics", "--replicas=1")
    body = premises.until("restorerequest", "meddled", lambda b: is_ready(b) or is_stalled(b), seconds=600)
    assert is_ready(body), condition(body, "Stalled")
    runs_as_before(premises)
    assert premises.ask("analytics-0", COUNT, "analytics") == "20000"


def test_an_operator_that_is_killed_in_the_middle_goes_on(premises: Place, cluster: Cluster, operator: str) -> None:
    premises.apply(in_place(premises, "orphaned", "analytics"))
    for step in ("StopServices", "Fetch", "HandOver"):
        premises.until("restorerequest", "orphaned", at_step(step, "Recover", "StartServer"))
        cluster.kubectl(
            "delete", "pod", "-n", operator, "-l", "app.kubernetes.io/name=pgwarden", "--grace-period=0", "--force"
        )
    body = premises.until("restorerequest", "orphaned", lambda b: is_ready(b) or is_stalled(b), seconds=600)
    assert is_ready(body), condition(body, "Stalled")
    runs_as_before(premises)


def test_old_data_are_deleted_when_that_is_asked_for(premises: Place) -> None:
    old = premises.get("restorerequest", "orphaned")["status"]["inPlace"]["oldData"]
    premises.kubectl("patch", "restorerequest", "orphaned", "--type=merge", "--patch", '{"spec": {"discardOld": true}}')
    premises.said("restorerequest", "orphaned", "OldDataDiscarded", "Discarded")
    assert old.rpartition("/")[2] not in premises.kubectl("exec", "analytics-0", "--", "ls", "/data").split()
    assert premises.ask("analytics-0", COUNT, "analytics") == "20000"


def test_a_server_whose_replicas_belong_to_a_tool_is_refused_with_the_change_to_make(premises: Place) -> None:
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "analytics"},
        "spec": {"replicas": 1},
    }
    premises.kubectl(
        "apply", "--server-side", "--field-manager=argocd-controller", "--force-conflicts", "--filename=-",
        text=json.dumps(manifest),
    )  # fmt: skip
    premises.apply(in_place(premises, "owned", "analytics"))
    message = premises.said("restorerequest", "owned", "Stalled", "ReplicasOwned")
    assert "jsonPointers: [/spec/replicas]" in message
    assert premises.get("statefulset", "analytics")["spec"]["replicas"] == 1
