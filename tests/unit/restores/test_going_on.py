"""After a restore in place: services wait for the archive of the new timeline, and people are told what is left."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pgwarden.backups.resource import DatabaseBackup
from pgwarden.restores.follow_up import follow_ups
from pgwarden.restores.going_on import PATIENCE, Archiving, archiving_of, behind, fulls_since, in_words
from pgwarden.restores.in_place_steps import ARCHIVE_TIMELINE, step_of
from pgwarden.restores.resource import Step
from tests.support.objects import NOW, body
from tests.unit.policies.bodies import policy
from tests.unit.restores.in_place_world import World

BEHIND = Archiving("nightly", 1, "WaitingForPrimary: db:5432 refuses connections")


def brought_up(world: World) -> World:
    """Until the server runs on the restored data."""
    for _ in range(40):
        world.look()
        world.finish_job("well")
        if step(world).state != "Pending":
            return world
    raise AssertionError(world.request.status.steps)


def step(world: World) -> Step:
    return step_of(world.request.status.steps, ARCHIVE_TIMELINE)


def stopped(world: World) -> list[str]:
    return [each.name for each in world.services if each.stopped_by(world.request.metadata.uid)]


def until_it_ends(world: World) -> None:
    for _ in range(10):
        world.look()
    assert world.ended


def test_services_start_once_the_archive_has_the_new_timeline() -> None:
    world = brought_up(World(archiving=[BEHIND]))
    for _ in range(5):
        world.look()
        assert (step(world).state, len(stopped(world))) == ("Running", 5)
    assert "WaitingForPrimary: db:5432 refuses" in step(world).message
    world.archiving = [Archiving("nightly", 2, "Streaming")]
    until_it_ends(world)
    assert step(world).message == (
        "the history file of timeline 2 and its WAL from the beginning on are archived by nightly"
    )
    assert stopped(world) == []


def test_services_wait_for_minutes_only_and_it_is_said_that_the_archive_lacks_the_timeline() -> None:
    world = brought_up(World(archiving=[BEHIND, Archiving("elsewhere", 2)]))
    world.now += PATIENCE - timedelta(seconds=5)
    world.look()
    assert len(stopped(world)) == 5
    world.now += timedelta(seconds=5)
    until_it_ends(world)
    assert "timeline 2 is not archived by BackupPolicy nightly (Waiting" in step(world).message
    assert "the services start all the same" in step(world).message


def test_without_an_archive_it_is_said_and_goes_on_at_once() -> None:
    world = World()
    brought_up(world)
    assert (step(world).state, stopped(world)) == ("Done", [])
    assert "no BackupPolicy archives the WAL of this cluster" in step(world).message


def test_only_policies_that_archive_wal_are_waited_for() -> None:
    wal: dict[str, Any] = {"wal": {"state": "Streaming", "timeline": 2, "archivedTimeline": 2}}
    assert archiving_of([policy(wal={"enabled": False}, status=wal)]) == []
    assert archiving_of([policy(wal={"enabled": True}, status=wal)]) == [Archiving("operational", 2, "Streaming")]
    (silent,) = archiving_of([policy(wal={"enabled": True})])
    assert behind([silent], 2) == [silent]
    assert "nothing was heard of its archiver" in in_words([silent], 2)


def made(name: str, policy_uid: str, seconds: int, **more: Any) -> DatabaseBackup:
    spec = {"clusterRef": {"name": "operational"}, "storeRef": {"name": "claims"}, **more}
    full = body("DatabaseBackup", name, spec)
    full["metadata"] |= {
        "labels": {"pgwarden.dev/owner-uid": policy_uid},
        "creationTimestamp": (NOW + timedelta(seconds=seconds)).isoformat(),
    }
    return DatabaseBackup.of(full)


def test_a_full_of_a_policy_that_was_begun_since_is_the_one_of_the_restored_data() -> None:
    uid = policy().metadata.uid
    backups = [
        made("new", uid, 5),
        made("before", uid, -5),
        made("somebodys", "another-uid", 5),
        made("incremental", uid, 5, type="Incremental"),
    ]
    assert fulls_since(NOW, [policy()], backups) == ["new"]
    assert fulls_since(None, [policy()], backups) == []


def test_the_report_of_a_restore_in_place_names_the_backup_and_the_old_data() -> None:
    world = brought_up(World(fulls=["nightly-full-20261123-1200-0123456789"]))
    until_it_ends(world)
    text = "\n".join(follow_ups(world.request))
    assert "succeeds: kubectl get databasebackup nightly-full-20261123-1200-0123456789." in text
    assert "/data/pgdata.before-0 on claim data-operational-0" in text
    assert "kubectl pgwarden restore discard-old rescue" in text
    assert "COMMIT PREPARED" in text, "what was found in the data"
    assert "Point the applications to" not in text


def test_without_a_backup_yet_the_report_says_how_to_see_to_one() -> None:
    world = brought_up(World())
    until_it_ends(world)
    assert any("without one take it now" in each for each in follow_ups(world.request))
