"""A DatabaseCluster that does not work tells which layer is broken, of what, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.place import (
    Body,
    Place,
    condition,
    config_map,
    database_cluster,
    is_stalled,
    migration,
    secret,
)

pytestmark = pytest.mark.timeout(600)


def credentials(name: str, **keys: str) -> dict[str, Any]:
    return {"monitor": {"secretName": name, **keys}}


# name: (changes to a sound DatabaseCluster, reason, what the message must say)
BROKEN: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "secret-absent": (
        {"credentials": credentials("nobodys")},
        "SecretMissing",
        ("Secret {namespace}/nobodys", "credentials.monitor", "does not exist", "create it with the keys username"),
    ),
    "key-absent": (
        {"credentials": credentials("sound-monitor", passwordKey="word")},
        "SecretMissing",
        ("Secret {namespace}/sound-monitor", "has no key word", "it has password, username", "Add the key"),
    ),
    "key-empty": (
        {"credentials": credentials("empty")},
        "SecretMissing",
        ("key password of Secret {namespace}/empty", "is empty"),
    ),
    "wrong-password": (
        {"credentials": credentials("wrong")},
        "PasswordRejected",
        ("sound-primary:5432", "pgwarden_monitor", "Check username and password in the credentials Secret"),
    ),
    "unknown-host": (
        {"primary": {"host": "nowhere"}},
        "HostNotFound",
        ("nowhere", "cannot be resolved", "Correct the host in the DatabaseCluster"),
    ),
    "closed-port": (
        {"primary": {"host": "sound-0.sound", "port": 5433}},
        "ConnectionRefused",
        ("sound-0.sound:5433", "Check the port"),
    ),
    "no-tls": (
        {"tls": {"mode": "require"}},
        "TLSRefused",
        ("sound-primary:5432", "does not offer TLS", "Turn ssl on"),
    ),
    "no-database": (
        {"databases": ["sound", "ghost"]},
        "DatabaseNotFound",
        ("has no database ghost", "Create it, or take it out of spec.databases"),
    ),
    "no-maintenance-database": (
        {"maintenanceDatabase": "ghost"},
        "DatabaseNotFound",
        ("no database ghost", "sound-primary:5432", "Create the database"),
    ),
}


@pytest.fixture(scope="module")
def broken(place: Place) -> Place:
    """All of them at once."""
    place.apply(
        secret("wrong", username="pgwarden_monitor", password="not-the-password"),
        secret("empty", username="pgwarden_monitor", password=""),
        config_map("files", {"1_a.up.sql": "SELECT 1"}),
        *(database_cluster(name, server="sound", **changes) for name, (changes, _, _) in BROKEN.items()),
        database_cluster("twin", server="sound"),
        database_cluster("paused", server="sound", primary={"host": "nowhere"}, suspend=True),
        *(migration(f"on-{name}", name, "sound", "files") for name in ("twin", "unknown-host", "secret-absent")),
    )
    return place


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_layer_has_its_reason_and_remedy(broken: Place, name: str) -> None:
    _, reason, parts = BROKEN[name]
    message = broken.said("databasecluster", name, "Reachable", reason)
    for part in parts:
        assert part.format(namespace=broken.namespace) in message, message
    assert "not-the-password" not in message


def test_a_missing_secret_is_picked_up_when_it_comes(broken: Place) -> None:
    broken.said("databasecluster", "secret-absent", "Ready", "SecretMissing")
    broken.apply(secret("nobodys", **broken.secret("sound-monitor")))
    # The kubelet brings it to the monitor within another minute or two.
    broken.until("databasecluster", "secret-absent", lambda body: condition(body, "Ready")["reason"] != "SecretMissing")


def test_of_two_objects_for_one_cluster_only_the_older_is_acted_on(broken: Place) -> None:
    message = broken.said("databasecluster", "twin", "DuplicateOf", "SameSystemIdentifier")
    assert f"DatabaseCluster {broken.namespace}/sound is older" in message
    assert "Delete one of the two" in message
    assert is_stalled(broken.get("databasecluster", "twin"))
    told = broken.said("databasemigration", "on-twin", "Ready", "ClusterDuplicate")
    assert f"{broken.namespace}/sound" in told


def test_work_on_a_cluster_that_cannot_be_reached_says_so(broken: Place) -> None:
    message = broken.said("databasemigration", "on-unknown-host", "Ready", "ClusterUnreachable")
    assert "DatabaseCluster unknown-host cannot be reached (HostNotFound)" in message
    assert "nowhere" in message


def test_a_suspended_cluster_is_in_force_and_takes_no_work(broken: Place) -> None:
    assert "spec.suspend" in broken.said("databasecluster", "paused", "Ready", "Suspended")
    assert condition(broken.get("databasecluster", "paused"), "Ready")["status"] == "True"


def test_a_person_sees_reason_and_remedy_with_kubectl(broken: Place) -> None:
    broken.said("databasecluster", "closed-port", "Reachable", "ConnectionRefused")
    wide = broken.kubectl("get", "dbc", "closed-port", "--output=wide")
    assert "ConnectionRefused" in wide and "Check the port" in wide

    def warned(_: Body) -> bool:
        return "ConnectionRefused" in broken.kubectl("events", "--for=databasecluster/closed-port", "--types=Warning")

    broken.until("databasecluster", "closed-port", warned)
