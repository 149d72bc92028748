"""Work that may not begin: quota, ServiceAccount, missing images, suspension. Each says so, and goes on when it may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.cluster import Cluster
from tests.support.place import (
    Body,
    Place,
    backup,
    claim,
    condition,
    config_map,
    database_cluster,
    is_ready,
    migration,
    restore,
    store,
)
from tests.support.release import release_for
from tests.support.sample_servers import rolled_out, server_files, single_server

pytestmark = pytest.mark.timeout(600)

OTHER = {"serviceAccountName": "powerful"}
REFUSED = (
    "jobTemplate.serviceAccountName powerful is not among those allowed (default)",
    "adds it to jobServiceAccounts in the chart's values",
)


def quota(pods: int) -> Body:
    spec = {"hard": {"pods": str(pods)}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-pods"}, "spec": spec}


def test_a_quota_that_forbids_the_pod_is_told_and_its_lifting_is_enough(
    cluster: Cluster, operator: str, make_place: Callable[[str], Place]
) -> None:
    place = make_place("quota")
    place.apply(quota(0))
    place.until("resourcequota", "no-pods", lambda body: "hard" in body.get("status", {}))
    place.apply(claim("shelf", "64Mi"), store("held", claim={"name": "shelf"}))
    message = place.said("backupstore", "held", "Ready", "PodForbidden")
    assert "exceeded quota: no-pods" in message and "the Job gets no pod" in message, message
    assert "Raise the quota" in message, message
    place.apply(quota(10))
    place.until("backupstore", "held", is_ready)


@pytest.fixture(scope="module")
def held(place: Place) -> Place:
    """Objects that name a ServiceAccount nobody allowed, and objects that are suspended."""
    place.ask("sound-0", "CREATE DATABASE paused OWNER pgwarden_migration")
    place.apply(
        config_map("one-file", {"1_a.up.sql": "SELECT 1"}),
        store("powerful", claim={"name": "shelf"}, prefix="powerful", jobTemplate=OTHER),
        backup("powerful", "sound", "shelf", jobTemplate=OTHER),
        migration("powerful", "sound", "powerful", "one-file", jobTemplate=OTHER),
        backup("paused", "sound", "shelf", suspend=True),
        migration("paused", "sound", "paused", "one-file", suspend=True),
        store("held", claim={"name": "shelf"}, prefix="held", suspend=True),
        backup("for-paused", "sound", "shelf"),
    )
    place.until("databasebackup", "for-paused", is_ready)
    place.apply(
        restore("paused", "for-paused", size="512Mi", suspend=True),
        restore("powerful", "for-paused", size="512Mi", jobTemplate=OTHER),
    )
    return place


@pytest.mark.parametrize("kind", ["backupstore", "databasebackup", "databasemigration", "restorerequest"])
def test_a_service_account_that_is_not_allowed_is_refused(held: Place, kind: str) -> None:
    message = held.said(kind, "powerful", "Ready", "ServiceAccountRefused")
    for part in REFUSED:
        assert part in message, message
    assert not jobs_of(held, held.get(kind, "powerful"))


PAUSED = {"databasebackup": "paused", "databasemigration": "paused", "restorerequest": "paused", "backupstore": "held"}


@pytest.mark.parametrize(("kind", "name"), PAUSED.items())
def test_what_is_suspended_starts_nothing_until_it_is_resumed(held: Place, kind: str, name: str) -> None:
    message = held.said(kind, name, "Ready", "Suspended")
    assert "spec.suspend" in message
    body = held.get(kind, name)
    assert not jobs_of(held, body)
    if kind == "backupstore":
        assert condition(body, "Ready")["status"] == "True"
    held.patch(kind, name, {"spec": {"suspend": False}})
    held.until(kind, name, lambda body: is_ready(body) and bool(jobs_of(held, body)))


def jobs_of(place: Place, body: Body) -> list[Body]:
    return place.list("jobs", f"--selector=pgwarden.dev/owner-uid={body['metadata']['uid']}")


@pytest.fixture(scope="module")
def imageless(cluster: Cluster, operator: str, make_place: Callable[[str], Place]) -> Iterator[Place]:
    """An operator that knows an image for PostgreSQL 17 only, one that does not exist, beside a server of 18."""
    place = make_place("imageless")
    place.apply(
        server_files(),
        *single_server("modern", 18),
        claim("shelf", "64Mi"),
        config_map("one-file", {"1_a.up.sql": "SELECT 1"}),
    )
    values: tuple[Any, ...] = ("--set", "images.agent.18=null", "--set", "images.agent.17=localhost/not-there:17")
    with release_for(cluster, place.namespace, *values):
        place.apply(
            database_cluster("modern"),
            store("shelf", claim={"name": "shelf"}),
            migration("modern", "modern", "modern", "one-file"),
        )
        rolled_out(place, "modern")
        yield place


def test_an_image_that_cannot_be_had_is_told(imageless: Place) -> None:
    message = imageless.said("backupstore", "shelf", "Ready", "ImageNotFound")
    assert "localhost/not-there:17" in message and "images.*" in message, message


def test_a_version_without_an_image_is_told(imageless: Place) -> None:
    message = imageless.said("databasemigration", "modern", "Ready", "AgentImageMissing")
    assert "no agent image for PostgreSQL 18 (there are: 17)" in message
    assert "Set images.agent.18 in the chart's values" in message
