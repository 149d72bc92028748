"""What is said about a DatabaseCluster."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from pgwarden.clusters.access import AbandonedRestore, Role, address, obstacle, volume, wanted
from pgwarden.clusters.plan import ObservedCluster, plan
from pgwarden.monitoring.contract import (
    ClusterObservation,
    DatabaseObservation,
    EndpointObservation,
    SlotObservation,
)
from tests.support.objects import (
    IN_FORCE,
    NOW,
    STUCK,
    WORKING,
    cluster,
    condition,
    kstatus,
    observed_cluster,
    said,
    written,
)

UP = EndpointObservation(
    host="db.example.com",
    port=5432,
    reachable=True,
    in_recovery=False,
    version="17.10",
    system_identifier="7301",
    timeline=2,
)


def down(host: str = "db.example.com", reason: str = "HostNotFound") -> EndpointObservation:
    return EndpointObservation(
        host=host, port=5432, reachable=False, reason=reason, message="no such name", remedy="Correct it."
    )


def seen(primary: EndpointObservation = UP, *, ago: float = 1, **more: Any) -> ClusterObservation:
    return ClusterObservation(
        name="operational",
        uid="u",
        digest="d",
        time=NOW - timedelta(seconds=ago),
        primary=primary,
        **{"databases": [DatabaseObservation(name="app", size_bytes=123_456_789)], **more},
    )


STANDBY = UP.model_copy(update={"in_recovery": True})
OLDER = (NOW - timedelta(days=9), "shop/older")
YOUNGER = (NOW, "shop/younger")


@pytest.mark.parametrize(
    ("observed", "triple", "reachable", "duplicate"),
    [
        (ObservedCluster(missing=["Secret x"]), WORKING, ("Unknown", "SecretMissing"), "False"),
        (ObservedCluster(), IN_FORCE, ("Unknown", "NotObservedYet"), "False"),
        (ObservedCluster(monitor_problem="gone"), IN_FORCE, ("Unknown", "MonitorNotRunning"), "False"),
        (ObservedCluster(observation=seen()), IN_FORCE, ("True", "Reachable"), "False"),
        # An outage does not make the object less accepted: a release must not wait for it.
        (ObservedCluster(observation=seen(down())), IN_FORCE, ("False", "HostNotFound"), "False"),
        (ObservedCluster(observation=seen(STANDBY)), IN_FORCE, ("False", "NotPrimary"), "False"),
        (
            ObservedCluster(observation=seen(missing_databases=["app"])),
            IN_FORCE,
            ("False", "DatabaseNotFound"),
            "False",
        ),
        (ObservedCluster(observation=seen(replicas=[down("r")])), IN_FORCE, ("True", "ReplicaUnreachable"), "False"),
        (ObservedCluster(observation=seen(ago=61)), IN_FORCE, ("Unknown", "MonitorNotRunning"), "False"),
        # The younger of two is not in force: nothing is done through it.
        (ObservedCluster(observation=seen(), twins=[OLDER]), STUCK, ("True", "Reachable"), "True"),
        (ObservedCluster(observation=seen(), twins=[YOUNGER]), IN_FORCE, ("True", "Reachable"), "False"),
    ],
)
def test_each_state_is_told(
    observed: ObservedCluster, triple: tuple[str, ...], reachable: tuple[str, str], duplicate: str
) -> None:
    result = plan(cluster(), observed, NOW)
    assert kstatus(result.judgments) == triple
    assert said(result.judgments, "Reachable") == reachable
    assert said(result.judgments, "DuplicateOf")[0] == duplicate


def test_a_suspended_cluster_is_in_force() -> None:
    result = plan(cluster(suspend=True), ObservedCluster(observation=seen()), NOW)
    assert kstatus(result.judgments) == IN_FORCE
    assert said(result.judgments) == ("True", "Suspended")


def test_what_was_seen_stands_in_status() -> None:
    status = written(plan(cluster(), ObservedCluster(observation=seen()), NOW), cluster())
    assert (status["version"], status["role"], status["restoreToken"]) == ("17.10", "Primary", "7301-2")
    assert status["databases"] == [{"name": "app", "sizeBytes": 118 << 20}]


def test_what_was_known_stays_while_the_server_does_not_answer() -> None:
    before = observed_cluster()
    status = written(plan(before, ObservedCluster(observation=seen(down())), NOW), before)
    assert (status["version"], status["systemIdentifier"]) == ("17.10", "7301")
    assert status["endpoints"][0]["reachable"] is False


def test_a_restart_of_the_operator_is_no_news() -> None:
    before = observed_cluster()
    known = before.model_copy(
        update={"status": before.status.model_copy(update={"conditions": [
            each.model_copy(update={"observed_generation": 1}) for each in before.status.conditions
        ]})}
    )  # fmt: skip
    assert not any(j.type == "Reachable" for j in plan(known, ObservedCluster(), NOW).judgments)


def test_small_growth_and_the_passing_of_time_write_nothing() -> None:
    first = plan(cluster(), ObservedCluster(observation=seen()), NOW)
    more = seen(ago=5, databases=[DatabaseObservation(name="app", size_bytes=123_456_999)])
    again = plan(cluster(), ObservedCluster(observation=more), NOW + timedelta(seconds=30))
    assert written(first, cluster()) == written(again, cluster())
    silent = [plan(cluster(), ObservedCluster(observation=seen(ago=100)), NOW + timedelta(seconds=n)) for n in (0, 9)]
    assert silent[0].judgments == silent[1].judgments


def test_people_are_told_when_a_server_stops_answering_and_not_again() -> None:
    observed = ObservedCluster(observation=seen(down()))
    assert [notice.reason for notice in plan(observed_cluster(), observed, NOW).notices] == ["HostNotFound"]
    status = {"conditions": [condition("Reachable", "False", "HostNotFound")]}
    assert plan(cluster(status=status), observed, NOW).notices == []


BROKEN = {"version": "17.10", "conditions": [condition("Reachable", "False", "ConnectionRefused", message="no")]}
TWIN = {"version": "17.10", "conditions": [condition("DuplicateOf", "True", message="older one")]}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "ClusterNotFound"),
        (observed_cluster(suspend=True), "ClusterSuspended"),
        (observed_cluster(credentials={"monitor": {"secretName": "m"}}), "CredentialsMissing"),
        (cluster(status=TWIN), "ClusterDuplicate"),
        (cluster(status=BROKEN), "ClusterUnreachable"),
        (cluster(), "ClusterNotObserved"),
    ],
)
def test_what_keeps_work_from_a_cluster_is_named(found: Any, reason: str) -> None:
    told = obstacle(found, "operational", Role.BACKUP)
    assert told is not None
    assert told.reason == reason
    assert "operational" in told.message or told.message


def test_nothing_keeps_work_from_a_cluster_that_answers() -> None:
    assert obstacle(observed_cluster(), "operational", Role.BACKUP) is None


def test_what_a_pod_mounts_is_what_its_task_reads() -> None:
    secured = observed_cluster(tls={"mode": "verify-full", "ca": {"kind": "ConfigMap", "name": "ca"}})
    used = secured.spec.credentials.backup
    assert used is not None
    where = address(secured)
    assert (where.tls_mode, where.ca_file) == ("verify-full", "/pgwarden/secrets/database/ca.crt")
    sources = volume(secured, used)["projected"]["sources"]
    assert [next(iter(source)) for source in sources] == ["secret", "configMap"]
    assert [(each.kind, each.name) for each in wanted(secured, Role.BACKUP)] == [
        ("Secret", "backup-role"),
        ("ConfigMap", "ca"),
    ]
    assert address(observed_cluster()).ca_file is None


def slot(name: str, *, active: bool = False, kept: int = 0) -> SlotObservation:
    return SlotObservation(name=name, active=active, kept_bytes=kept)


def with_slots(*slots: SlotObservation, on_replica: bool = False) -> ClusterObservation:
    server = UP.model_copy(update={"slots": list(slots)})
    if not on_replica:
        return seen(server)
    return seen(replicas=[server.model_copy(update={"host": "replica", "in_recovery": True})])


@pytest.mark.parametrize("on_replica", [False, True], ids=["primary", "replica"])
def test_a_slot_that_no_policy_wants_any_more_is_told_with_the_command_that_drops_it(*, on_replica: bool) -> None:
    slots = with_slots(slot("pgwarden_000000000001", kept=2 << 30), on_replica=on_replica)
    result = plan(cluster(), ObservedCluster(observation=slots), NOW)
    assert said(result.judgments, "SlotsInUse") == ("False", "OrphanedSlot")
    (told,) = [notice for notice in result.notices if notice.reason == "OrphanedSlot"]
    assert told.warning
    assert "more than 2Gi of WAL" in told.message
    assert "SELECT pg_drop_replication_slot('pgwarden_000000000001')" in told.message
    assert kstatus(result.judgments) == IN_FORCE


def test_every_slot_has_its_own_command_for_its_own_server() -> None:
    primary = UP.model_copy(update={"slots": [slot("pgwarden_000000000001"), slot("pgwarden_000000000002")]})
    replica = STANDBY.model_copy(update={"host": "replica", "port": 6432, "slots": [slot("pgwarden_000000000002")]})
    asked = cluster(maintenanceDatabase="maintenance")
    result = plan(asked, ObservedCluster(observation=seen(primary, replicas=[replica])), NOW)
    (told,) = [each for each in result.judgments if each.type == "SlotsInUse"]
    assert re.findall(r'psql "([^"]+)" -c "([^"]+)"', told.message) == [
        (
            f"host={host} port={port} dbname=maintenance",
            f"SELECT pg_drop_replication_slot('pgwarden_00000000000{number}')",
        )
        for host, port, number in [("db.example.com", 5432, 1), ("db.example.com", 5432, 2), ("replica", 6432, 2)]
    ]


def test_of_very_many_slots_no_command_is_cut() -> None:
    many = [slot(f"pgwarden_{number:012}", kept=1 << 40) for number in range(30)]
    long_name = UP.model_copy(update={"host": "db." + "x" * 200, "slots": many})
    result = plan(cluster(), ObservedCluster(observation=seen(long_name)), NOW)
    (told,) = [each for each in result.judgments if each.type == "SlotsInUse"]
    assert re.search(r"-c \"SELECT pg_drop_replication_slot\('pgwarden_\d{12}'\)\"; and \d+ more$", told.message)


def test_a_slot_that_is_wanted_or_streamed_from_is_nothing_to_tell() -> None:
    wanted = ["pgwarden_000000000001"]
    slots = with_slots(slot(wanted[0]), slot("pgwarden_000000000002", active=True))
    result = plan(cluster(), ObservedCluster(observation=slots, slots=wanted), NOW)
    assert [each for each in result.judgments if each.type == "SlotsInUse"] == []


def test_that_an_orphaned_slot_is_gone_is_told_once() -> None:
    before = cluster()
    first = plan(before, ObservedCluster(observation=with_slots(slot("pgwarden_000000000001"))), NOW)
    known = cluster(status=written(first, before))
    second = plan(known, ObservedCluster(observation=with_slots()), NOW)
    assert said(second.judgments, "SlotsInUse") == ("True", "SlotsInUse")
    again = plan(cluster(status=written(second, known)), ObservedCluster(observation=with_slots()), NOW)
    assert [notice.reason for notice in again.notices if notice.reason == "SlotsInUse"] == []


@pytest.mark.parametrize(
    ("left", "status", "reason", "warns"),
    [
        (AbandonedRestore("it is put back"), "False", "PuttingBack", True),
        (AbandonedRestore("it is put back", handed_over=True), "False", "PuttingBack", True),
        (AbandonedRestore("it is tried again", stuck=True), "False", "PutBackFailed", True),
        (AbandonedRestore("all is back", concluded=True), "True", "PutBack", False),
        (AbandonedRestore("the new data stay", concluded=True, handed_over=True), "True", "HandedOver", False),
    ],
)
def test_what_becomes_of_an_abandoned_restore_is_told(
    left: AbandonedRestore, status: str, reason: str, *, warns: bool
) -> None:
    result = plan(cluster(), ObservedCluster(abandoned=left), NOW)
    assert said(result.judgments, "RestoresConcluded") == (status, reason)
    (told,) = [notice for notice in result.notices if notice.reason == reason]
    assert (told.message, told.warning) == (left.message, warns)
    assert kstatus(result.judgments) == IN_FORCE


def test_where_no_restore_was_abandoned_nothing_is_said_of_one() -> None:
    nothing = AbandonedRestore("", concluded=True)
    for earlier in ([], [condition("RestoresConcluded", "True", "PutBack", message="all is back")]):
        for left in (None, nothing):
            result = plan(cluster(status={"conditions": earlier}), ObservedCluster(abandoned=left), NOW)
            assert [each for each in result.judgments if each.type == "RestoresConcluded"] == []
    at_work = {"conditions": [condition("RestoresConcluded", "False", "PuttingBack", message="it is put back")]}
    ended = plan(cluster(status=at_work), ObservedCluster(abandoned=nothing), NOW)
    assert said(ended.judgments, "RestoresConcluded") == ("True", "PutBack")
