"""A BackupPolicy at work: backups by themselves, WAL between them, what is said of it, and what is left of it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.e2e.policies.conftest import EVERY_MINUTE, POLICY, SERVER, policy, write
from tests.support.place import MODEST, Body, Place, condition, is_ready, thing

pytestmark = pytest.mark.timeout(900)

MINE = f"pgwarden.dev/policy={POLICY}"


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
    (pod,) = protected.list("pods", "--selector", "app.kubernetes.io/component=archiver")
    assert pod["spec"]["automountServiceAccountToken"] is False
    body = protected.get("backuppolicy", POLICY)
    assert body["status"]["wal"]["state"] == "Streaming"
    assert body["status"]["wal"]["slot"].startswith("pgwarden_")
    assert condition(body, "Recoverable")["message"].startswith("the data can be brought back to any moment")
    head = protected.kubectl("get", "bkp", POLICY).splitlines()[0]
    assert all(name in head for name in ("LAST FULL", "FROM", "TO", "WAL LAG", "OBJECTIVES", "NEXT RUN"))


def test_an_archiver_that_is_killed_comes_back_without_a_gap(protected: Place) -> None:
    (pod,) = protected.list("pods", "--selector", "app.kubernetes.io/component=archiver")
    protected.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    write(protected, 3)
    body = protected.until("backuppolicy", POLICY, lambda body: streams_again(protected, body, pod["metadata"]["uid"]))
    assert body["status"]["wal"].get("gaps", 0) == 0


def streams_again(place: Place, body: Body, before: str) -> bool:
    pods = place.list("pods", "--selector", "app.kubernetes.io/component=archiver")
    ready = [each for each in pods if each["metadata"]["uid"] != before and ready_pod(each)]
    return bool(ready) and condition(body, "WALArchiving").get("status") == "True"


def ready_pod(pod: Body) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_what_was_written_after_the_last_backup_is_restored_and_the_time_it_took_counts(protected: Place) -> None:
    assert condition(protected.get("backuppolicy", POLICY), "ObjectivesMet")["reason"] == "RecoveryTimeUnknown"
    # Nothing of this is in any backup: only WAL holds it.
    protected.patch("backuppolicy", POLICY, {"spec": {"suspend": True}})
    write(protected, 4)
    position = protected.ask(f"{SERVER}-0", "SELECT pg_current_wal_lsn()")
    write(protected, 5)
    protected.apply(
        thing(
            "RestoreRequest",
            "to-the-last-entry",
            {
                "source": {"policyRef": {"name": POLICY}, "target": {"lsn": position}},
                "target": {"newInstance": {"name": "ledger-again", "storage": {"size": "1Gi"}, **MODEST}},
                "jobTemplate": MODEST,
            },
        )
    )
    protected.until("restorerequest", "to-the-last-entry", is_ready, seconds=400)
    password = protected.secret("ledger-again-superuser")["password"]
    found = protected.ask("ledger-again-0", "SELECT max(id) FROM entries", SERVER, password=password)
    assert found == "4"
    protected.patch("backuppolicy", POLICY, {"spec": {"suspend": False}})
    message = protected.said("backuppolicy", POLICY, "ObjectivesMet", "Met")
    assert "the restore to-the-last-entry took" in message


def test_the_archive_is_looked_after(protected: Place) -> None:
    body = protected.until(
        "backuppolicy", POLICY, lambda body: body["status"].get("catalogue", {}).get("time") is not None, seconds=300
    )
    assert body["status"]["catalogue"]["restorable"] >= 1
    assert condition(body, "ArchiveSound")["status"] == "True"
    assert body["status"]["earliestRecoverable"]["time"] <= body["status"]["latestRecoverable"]["time"]


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


def test_deleting_the_policy_takes_its_objects_along_and_leaves_the_archive(protected: Place) -> None:
    slot = protected.get("backuppolicy", POLICY)["status"]["wal"]["slot"]
    full = protected.get("backuppolicy", POLICY)["status"]["lastFull"]["name"]
    location = protected.get("databasebackup", full)["status"]["location"]
    protected.kubectl("delete", "backuppolicy", POLICY, "--cascade=foreground", "--timeout=180s")
    assert not protected.list("databasebackups", "--selector", MINE)
    assert not protected.list("deployments", "--selector", "app.kubernetes.io/component=archiver")
    # The next policy begins with a full in the same archive, which holds the earlier ones.
    protected.apply(policy(wal={"enabled": False}))
    body = protected.until("backuppolicy", POLICY, lambda body: "lastFull" in body.get("status", {}))
    again = protected.get("databasebackup", body["status"]["lastFull"]["name"])["status"]["location"]
    assert again.rpartition("/")[0] == location.rpartition("/")[0]
    looked = protected.until(
        "backuppolicy", POLICY, lambda body: body["status"].get("catalogue", {}).get("time") is not None, seconds=300
    )
    assert looked["status"]["catalogue"]["fulls"] >= 2
    assert protected.ask(f"{SERVER}-0", f"SELECT pg_drop_replication_slot('{slot}')") == ""
