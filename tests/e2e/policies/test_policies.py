"""A BackupPolicy at work: backups by themselves, WAL between them, what is said of it, and what is left of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from tests.e2e.policies.conftest import EVERY_MINUTE, MINE, POLICY, SERVER, archivers, policy, write
from tests.support.place import Body, Place, condition, is_ready, restore
from tests.support.pod_processes import kill

pytestmark = pytest.mark.timeout(900)


def backups(place: Place, type_: str) -> list[Body]:
    return place.list("databasebackups", "--selector", f"{MINE},pgwarden.dev/backup-type={type_}")


def test_the_first_full_is_taken_by_itself_and_incrementals_follow(protected: Place) -> None:
    (full,) = backups(protected, "full")
    assert full["metadata"]["annotations"]["pgwarden.dev/reason"] == "there is no restorable full backup yet"
    (owner,) = full["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("BackupPolicy", POLICY)
    write(protected, 2)
    body = protected.until("backuppolicy", POLICY, lambda body: "lastIncremental" in body["status"])
    assert body["status"]["lastIncremental"]["backupID"] > body["status"]["lastFull"]["backupID"][:8]
    assert condition(body, "LastBackupSucceeded")["status"] == "True"
    assert condition(body, "Ready")["reason"] == "InForce"


def test_no_two_physical_backups_run_at_a_time(protected: Place) -> None:
    ended = [body for type_ in ("full", "incremental") for body in backups(protected, type_) if is_ready(body)]
    spans = sorted(
        (each["status"]["startTime"], each["status"]["completionTime"])
        for each in ended
        if "startTime" in each["status"]
    )
    assert len(spans) >= 1
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))


def test_the_archiver_is_restricted_and_says_how_far_it_is(protected: Place) -> None:
    (pod,) = archivers(protected)
    assert pod["spec"]["automountServiceAccountToken"] is False
    body = protected.get("backuppolicy", POLICY)
    assert body["status"]["wal"]["state"] == "Streaming"
    assert body["status"]["wal"]["slot"].startswith("pgwarden_")
    assert condition(body, "Recoverable")["message"].startswith("the data can be brought back to any moment")
    head = protected.kubectl("get", "bkp", POLICY).splitlines()[0]
    assert all(name in head for name in ("LAST FULL", "FROM", "TO", "WAL LAG", "OBJECTIVES", "NEXT RUN"))


def test_an_archiver_whose_pod_is_deleted_comes_back_without_a_gap(protected: Place) -> None:
    (pod,) = archivers(protected)
    protected.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    write(protected, 3)
    body = protected.until("backuppolicy", POLICY, lambda body: streams_again(protected, body, pod["metadata"]["uid"]))
    assert body["status"]["wal"].get("gaps", 0) == 0


def streams_again(place: Place, body: Body, before: str) -> bool:
    ready = [each for each in archivers(place) if each["metadata"]["uid"] != before and is_ready_pod(each)]
    return bool(ready) and condition(body, "WALArchiving").get("status") == "True"


def is_ready_pod(pod: Body) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_any_moment_is_restored_although_the_archiver_was_killed_under_load(protected: Place) -> None:
    assert condition(protected.get("backuppolicy", POLICY), "ObjectivesMet")["reason"] == "RecoveryTimeUnknown"
    (pod,) = archivers(protected)
    with ticking(protected) as ticks:
        ticks(50)
        assert kill(pod["metadata"]["uid"], "archive-wal") >= 1
        ticks(50)
        moment = protected.ask(f"{SERVER}-0", MOMENT)
        ticks(50)
    protected.until("backuppolicy", POLICY, lambda _: archived(protected) >= datetime.fromisoformat(moment))
    source = {"policyRef": {"name": POLICY}, "target": {"time": moment}}
    protected.apply(restore("to-a-moment", "", source=source))
    protected.until("restorerequest", "to-a-moment", is_ready)
    password = protected.secret("to-a-moment-superuser")["password"]
    counted = protected.ask("to-a-moment-0", "SELECT count(*), max(id) FROM ticks", SERVER, password=password)
    count, last = map(int, counted.split("|"))
    due = int(protected.ask(f"{SERVER}-0", f"SELECT count(*) FROM ticks WHERE at <= '{moment}'", SERVER))
    # A row's time is from just before its commit, so one may be of the other side.
    assert due - 1 <= count <= due
    assert count == last
    message = protected.said("backuppolicy", POLICY, "ObjectivesMet", "Met")
    assert "the restore to-a-moment took" in message


MOMENT = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
TICKS = """
DO $$ BEGIN
    FOR i IN 1..1000000 LOOP
        INSERT INTO ticks VALUES (i, clock_timestamp());
        COMMIT;
        PERFORM pg_sleep(0.005);
    END LOOP;
END $$
"""
END = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE application_name = 'ticks'"


@contextmanager
def ticking(place: Place) -> Iterator[Callable[[int], None]]:
    """Somebody commits a row every few milliseconds; gives a function that waits until there are so many more."""
    pod = f"{SERVER}-0"
    place.ask(pod, "CREATE TABLE ticks (id int, at timestamptz)", SERVER)
    psql = [
        "env",
        "PGAPPNAME=ticks",
        "psql",
        "--no-psqlrc",
        "--quiet",
        "--username=postgres",
        "--command",
        TICKS,
        SERVER,
    ]
    # In the foreground: a process that was left to the pod's first one, the postmaster, would look like a crash to it.
    command = ["kubectl", "--namespace", place.namespace, "exec", pod, "--container=postgres", "--", *psql]

    def ticks(more: int) -> None:
        seen = count()
        place.until("pod", pod, lambda _: count() >= seen + more, seconds=60)

    def count() -> int:
        return int(place.ask(pod, "SELECT count(*) FROM ticks", SERVER))

    with subprocess.Popen(command, env=dict(place.cluster.environment), stderr=subprocess.DEVNULL):
        try:
            yield ticks
        finally:
            place.ask(pod, END)


def archived(place: Place) -> datetime:
    """The newest moment that the archiver says is in the store."""
    (pod,) = archivers(place)
    path = f"/api/v1/namespaces/{place.namespace}/pods/{pod['metadata']['name']}:8080/proxy/status"
    answer = place.cluster.kubectl("get", "--raw", path, check=False)
    moment = json.loads(answer.stdout).get("recoveryPointTime") if answer.returncode == 0 else None
    return datetime.fromisoformat(moment) if moment else datetime.min.replace(tzinfo=UTC)


def test_a_second_policy_of_the_same_archive_stands_back(protected: Place) -> None:
    protected.apply(policy("another", wal={"enabled": False}))
    message = protected.said("backuppolicy", "another", "Stalled", "PolicyDuplicate")
    assert f"BackupPolicy {POLICY} is older" in message
    assert not protected.list("databasebackups", "--selector", "pgwarden.dev/policy=another")
    protected.kubectl("delete", "backuppolicy", "another")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schedules": {"full": {"schedule": "every night"}}}, "five fields"),
        ({"schedules": {"incremental": EVERY_MINUTE}}, "without either nothing is ever backed up"),
        ({"schedules": {"logical": EVERY_MINUTE}}, "archived WAL is of use only after a full backup"),
        ({"maxRateKiB": 3}, "at least 32"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(protected: Place, change: Body, sentence: str) -> None:
    assert sentence in protected.refusal(policy("refused", **change))


def test_the_cluster_of_a_policy_cannot_be_changed(protected: Place) -> None:
    assert "clusterRef of a BackupPolicy cannot be changed" in protected.refusal(policy(clusterRef={"name": "x"}))


def test_the_archive_is_looked_after(protected: Place) -> None:
    body = protected.until(
        "backuppolicy", POLICY, lambda body: body["status"].get("catalogue", {}).get("time") is not None, seconds=300
    )
    assert body["status"]["catalogue"]["restorable"] >= 1
    assert condition(body, "ArchiveSound")["status"] == "True"
    assert body["status"]["earliestRecoverable"]["time"] <= body["status"]["latestRecoverable"]["time"]
