"""A policy on a bad day: what a person sees, and what mends itself."""

from __future__ import annotations

import os
import re
import signal

import pytest

from tests.e2e.policies.conftest import MINE, POLICY, SERVER, STUCK_SECONDS, archivers
from tests.support.place import Body, Place, condition, holds, is_ready, store
from tests.support.pod_processes import processes_of
from tests.support.shell import table

pytestmark = pytest.mark.timeout(900)

Row = dict[str, str]
POLICY_ROW, STORE_ROW = f"backuppolicy.pgwarden.dev/{POLICY}", "backupstore.pgwarden.dev/claim"
AGO = re.compile(r"(\d+[dhms])+")
SWITCH = "; ".join(["SELECT pg_switch_wal()", "INSERT INTO entries VALUES (1000)"] * 6)


def glance(place: Place) -> dict[str, Row]:
    """What `kubectl get bkp,dbb,store` shows, by the names that it shows."""
    return {row["NAME"]: row for row in table(place.kubectl("get", "bkp,dbb,store"))}


def events(place: Place, reason: str) -> list[str]:
    """The messages of the policy's Events with that reason."""
    found = place.list("events.events.k8s.io")
    return [each["note"] for each in found if each["reason"] == reason and each["regarding"]["name"] == POLICY]


def newest_full(place: Place) -> str:
    """Name of the newest full backup of the policy that can be restored."""
    found = place.list("databasebackups", "--selector", f"{MINE},pgwarden.dev/backup-type=full")
    done = [(body["status"]["completionTime"], body["metadata"]["name"]) for body in found if is_ready(body)]
    _, name = max(done)
    return str(name)


def test_health_shows_at_a_glance(protected: Place) -> None:
    protected.until("backuppolicy", POLICY, holds("WALArchiving"))
    protected.until("backuppolicy", POLICY, holds("LastBackupSucceeded"))
    seen = glance(protected)
    policy, full = seen[POLICY_ROW], seen[f"databasebackup.pgwarden.dev/{newest_full(protected)}"]
    assert (policy["CLUSTER"], policy["READY"]) == (SERVER, "True")
    assert all(AGO.fullmatch(policy[column]) for column in ("LAST FULL", "FROM", "TO"))
    assert policy["WAL LAG"].startswith("under ")
    assert policy["OBJECTIVES"] in ("True", "Unknown")
    assert re.fullmatch(r"Incremental \d{4}-\d\d-\d\dT\d\d:\d\d:00Z", policy["NEXT RUN"])
    assert (full["TYPE"], full["RESTORABLE"]) == ("Full", "True")
    assert seen[STORE_ROW]["READY"] == "True"


def test_a_store_that_is_gone_is_told_and_its_return_is_enough(protected: Place) -> None:
    protected.kubectl("delete", "backupstore", "claim")
    message = protected.said("backuppolicy", POLICY, "Ready", "StoreNotFound")
    assert message == "there is no BackupStore claim; create it"
    seen = glance(protected)
    assert STORE_ROW not in seen
    assert seen[POLICY_ROW]["READY"] == "False"
    protected.apply(store("claim", claim={"name": "backups"}))
    protected.until("backupstore", "claim", is_ready)
    protected.said("backuppolicy", POLICY, "Ready", "InForce")


def test_a_backup_that_fails_is_told(protected: Place) -> None:
    protected.ask(f"{SERVER}-0", "ALTER ROLE pgwarden_backup NOREPLICATION")
    try:
        body = protected.until("backuppolicy", POLICY, holds("LastBackupSucceeded", "False"))
    finally:
        protected.ask(f"{SERVER}-0", "ALTER ROLE pgwarden_backup REPLICATION")
    failure = condition(body, "LastBackupSucceeded")
    name, message = failure["message"].split(" ")[0], failure["message"]
    assert failure["reason"] == "ReplicationNotPermitted", message
    assert "REPLICATION" in message
    assert is_ready(body)
    row = glance(protected)[f"databasebackup.pgwarden.dev/{name}"]
    assert (row["RESTORABLE"], row["REASON"]) == ("False", "ReplicationNotPermitted")
    assert any(name in note for note in events(protected, "ReplicationNotPermitted"))


def test_the_next_one_has_its_turn_and_when_it_stands_still_it_is_ended_and_tried_again(protected: Place) -> None:
    def at_work(_: Body) -> list[int]:
        return [process for pod in pods_of_backups(protected) for process in processes_of(pod, "pgwarden")]

    protected.until("backuppolicy", POLICY, lambda body: bool(at_work(body)))
    (stopped,) = pods_of_backups(protected)
    for process in processes_of(stopped, "pgwarden"):
        os.kill(process, signal.SIGSTOP)
    protected.until("backuppolicy", POLICY, lambda _: bool(events(protected, "BackupStuck")))
    (note,) = events(protected, "BackupStuck")
    assert f"has not got on for {STUCK_SECONDS}s: its Job " in note
    name = note.split(" ")[0]
    body = protected.until("databasebackup", name, is_ready)
    assert body["status"]["attempts"][0]["reason"] == "JobDeleted"
    protected.until("backuppolicy", POLICY, holds("LastBackupSucceeded"))


def pods_of_backups(place: Place) -> list[str]:
    """UIDs of the pods that run for a DatabaseBackup of the policy."""
    phases = "--field-selector=status.phase!=Succeeded,status.phase!=Failed"
    pods = place.list("pods", "--selector", "pgwarden.dev/operation=backup", phases)
    return [pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def test_wal_that_is_lost_is_told_and_a_full_is_taken_by_itself(protected: Place) -> None:
    before = newest_full(protected)
    lose_wal(protected)
    message = protected.said("backuppolicy", POLICY, "WALArchiving", "WALGap")
    assert message.startswith("WAL is missing from the archive: ")
    assert "that full is taken by itself" in message
    assert any(note.startswith("WAL is missing") for note in events(protected, "WALGap"))
    body = protected.until("backuppolicy", POLICY, holds("WALArchiving"))
    full = newest_full(protected)
    assert full != before
    why = protected.get("databasebackup", full)["metadata"]["annotations"]["pgwarden.dev/reason"]
    assert why.startswith("archived WAL has a gap after ")
    assert any(full in note for note in events(protected, "FullTaken"))
    assert body["status"]["wal"]["gaps"] == 1
    assert condition(body, "Recoverable")["status"] == "True"


def lose_wal(place: Place) -> None:
    """The archiver is away, somebody drops its slot, and the server removes WAL that was never archived."""
    pod, slot = f"{SERVER}-0", place.get("backuppolicy", POLICY)["status"]["wal"]["slot"]
    (deployment,) = place.list("deployments", "--selector", "app.kubernetes.io/component=archiver")
    scale = ("scale", "deployment", deployment["metadata"]["name"])
    place.kubectl(*scale, "--replicas=0")
    idle = f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}' AND NOT active"
    place.until("pod", pod, lambda _: place.ask(pod, idle) == "1" and not archivers(place))
    place.ask(pod, f"SELECT pg_drop_replication_slot('{slot}')")
    segment = place.ask(pod, "SELECT pg_walfile_name(pg_current_wal_lsn())")
    for command in ("ALTER SYSTEM SET wal_keep_size = 0", "SELECT pg_reload_conf()", SWITCH):
        place.ask(pod, command, SERVER)
    # WAL stays until it has been summarized, and a checkpoint removes it.
    kept = f"SELECT count(*) FROM pg_ls_waldir() WHERE name = '{segment}'"
    place.until("pod", pod, lambda _: place.ask(pod, f"CHECKPOINT; {kept}") == "0")
    place.kubectl(*scale, "--replicas=1")
