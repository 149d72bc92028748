"""Any moment of the archive comes back: by time, position, transaction, name; the last one; across timelines."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest

from pgwarden.api.wal import format_lsn, parse_lsn, segment_name
from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import Result
from pgwarden.restores.contract import TargetPoint
from pgwarden.storage.objects import Packing, write_object
from pgwarden.storage.store import open_store
from tests.support.postgres import PostgresServer, give_to_server_user, new_folder, owned_folder, postgres_server
from tests.support.restore_pod import RestorePod
from tests.support.stored_backup import claim, store_backup
from tests.support.wal_archive import SEGMENT, WALArchive

Settings = {"max_wal_size": "1GB", "wal_keep_size": "1GB", "max_connections": "40"}


@dataclass
class History:
    """A server that lived through numbered events, all of it archived."""

    major: int
    store: StoreLocation
    archive: str
    early: str = ""
    """Location of the first backup."""
    late: str = ""
    """Location of the one that was taken in between."""
    times: dict[int, datetime] = field(default_factory=dict)
    """Event -> a moment after it and before the next."""
    positions: dict[int, str] = field(default_factory=dict)
    xids: dict[int, str] = field(default_factory=dict)
    """Event -> the transaction that wrote it."""
    committed: dict[int, datetime] = field(default_factory=dict)
    """Event -> when that committed, as its commit record says."""
    commits: dict[int, str] = field(default_factory=dict)
    """Event -> the position of that record."""


def write_event(history: History, archive: WALArchive, number: int, *, filler: int = 0) -> None:
    """One event, between two noted moments."""
    archive.note_moment()
    with archive.server.connect() as connection, connection.transaction():
        connection.execute("INSERT INTO events VALUES (%s)", (number,))
        connection.execute(
            "INSERT INTO filler SELECT repeat(md5(n::text), 30) FROM generate_series(1, %s) n", (filler,)
        )
        row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert row is not None
        history.xids[number] = str(row[0])
    history.times[number] = archive.note_moment()
    history.positions[number] = archive.position()[2]


def start_history(server: PostgresServer, store: StoreLocation) -> tuple[History, WALArchive]:
    archive = WALArchive(server, store)
    history = History(server.major, store, archive.archive)
    server.execute("CREATE TABLE events (number int)", "CREATE TABLE filler (what text)")
    history.early = store_backup(server, store)
    return history, archive


@pytest.fixture(scope="module")
def lived(major: int) -> Iterator[History]:
    """Events 1 to 6; a restore point after 2; a second backup after 3; max_connections raised after 4; then idle."""
    folder = new_folder()
    with postgres_server(major, settings=Settings) as server:
        history, archive = start_history(server, claim(owned_folder(folder / "store")))
        write_event(history, archive, 1, filler=30_000)
        write_event(history, archive, 2, filler=30_000)
        server.execute("SELECT pg_create_restore_point('before the third')")
        write_event(history, archive, 3)
        history.late = store_backup(server, history.store)
        write_event(history, archive, 4, filler=30_000)
        server.configure({"max_connections": "90", "max_prepared_transactions": "30"})
        server.restart()
        write_event(history, archive, 5)
        write_event(history, archive, 6)
        server.execute("CHECKPOINT")
        archive.note_moment()
        note_commit(history, server, 4)
        yield history
    shutil.rmtree(folder)


def note_commit(history: History, server: PostgresServer, number: int) -> None:
    """When an event was committed, and where its record begins: from the WAL itself."""
    begin, end = (parse_lsn(history.positions[each]) for each in (number - 1, number))
    told = server.tool(
        "pg_waldump",
        f"--path={server.data / 'pg_wal'}",
        f"--start={format_lsn(begin)}",
        f"--end={format_lsn(end)}",
        f"--xid={history.xids[number]}",
        "--rmgr=Transaction",
        # Else it takes the length of segments from any file there, also from one that was not written to yet.
        *(segment_name(1, position // SEGMENT, SEGMENT) for position in (begin, end - 1)),
        environment={"TZ": "UTC"},
    )
    found = re.search(r"lsn: ([0-9A-F]+/[0-9A-F]+), .* desc: COMMIT (\S+ \S+) UTC", told)
    assert found, told
    history.commits[number] = format_lsn(parse_lsn(found[1]))
    history.committed[number] = datetime.fromisoformat(f"{found[2]}+00:00")


NewPod = Callable[..., RestorePod]


@pytest.fixture
def pod_for(volume: Path) -> Iterator[NewPod]:
    """`pod_for(history, time=...)`: a pod that restores to that target."""
    with ExitStack() as pods:

        def make(history: History, *, location: str = "", **point: Any) -> RestorePod:
            pod = RestorePod(
                history.major,
                volume,
                history.store,
                location,
                archive="" if location else history.archive,
                target=TargetPoint(**point),
            )
            pods.callback(pod.destroy)
            return pod

        yield make


def events_after(pod: RestorePod) -> list[int]:
    """Runs the pod to its end and returns the events that the new instance holds."""
    _, recovered, code = pod.run()
    assert (recovered.reason, code) == ("Recovered", 0), (recovered, pod.server_log)
    with pod.instance() as instance, instance.connect() as copy:
        return [int(str(number)) for (number,) in copy.execute("SELECT number FROM events ORDER BY number").fetchall()]


def base_of(pod: RestorePod) -> str:
    return str(pod.paths.record.read_text().split('"backupId": "')[1].split('"')[0])


def refused(pod: RestorePod) -> Result:
    """The answer of a restore that must not begin: nothing is fetched."""
    result = pod.restore()
    assert result.outcome == "Failed", result
    assert not pod.paths.data.exists()
    return result


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_time_brings_back_what_was_committed_until_then(lived: History, pod_for: NewPod, number: int) -> None:
    pod = pod_for(lived, time=lived.times[number])
    assert events_after(pod) == list(range(1, number + 1))
    assert base_of(pod) == (lived.early if number < 4 else lived.late).rsplit("/", 1)[-1]


def test_a_time_on_an_idle_database_is_the_end_of_its_wal(lived: History, pod_for: NewPod) -> None:
    """PostgreSQL alone ends with "recovery ended before configured recovery target was reached"."""
    pod = pod_for(lived, time=lived.times[6])
    assert events_after(pod) == [1, 2, 3, 4, 5, 6]
    log = "".join(container.log for container in pod.containers)
    assert "recovery ended before configured recovery target was reached" in log


def test_a_time_on_an_idle_database_is_reached_through_many_segments(lived: History, pod_for: NewPod) -> None:
    """The server that is started again asks for all the WAL that the first one took."""
    pod = pod_for(lived, location=lived.early, time=lived.times[6])
    assert events_after(pod) == [1, 2, 3, 4, 5, 6]


def test_a_position_brings_back_what_lies_before_it(lived: History, pod_for: NewPod) -> None:
    assert events_after(pod_for(lived, lsn=lived.positions[4])) == [1, 2, 3, 4]


@pytest.mark.parametrize("inclusive", [True, False])
def test_the_position_of_a_commit_is_restored_or_left_out(lived: History, pod_for: NewPod, inclusive: bool) -> None:
    pod = pod_for(lived, lsn=lived.commits[4], inclusive=inclusive)
    assert events_after(pod) == ([1, 2, 3, 4] if inclusive else [1, 2, 3])


@pytest.mark.parametrize("inclusive", [True, False])
def test_the_time_of_a_commit_is_restored_or_left_out(lived: History, pod_for: NewPod, inclusive: bool) -> None:
    pod = pod_for(lived, time=lived.committed[4], inclusive=inclusive)
    assert events_after(pod) == ([1, 2, 3, 4] if inclusive else [1, 2, 3])


@pytest.mark.parametrize("inclusive", [True, False])
def test_a_named_point_and_the_latest_have_nothing_at_them_to_leave_out(
    lived: History, pod_for: NewPod, inclusive: bool
) -> None:
    assert events_after(pod_for(lived, name="before the third", inclusive=inclusive)) == [1, 2]


@pytest.mark.parametrize("inclusive", [True, False])
def test_a_transaction_is_found_from_an_older_backup(lived: History, pod_for: NewPod, inclusive: bool) -> None:
    pod = pod_for(lived, xid=lived.xids[3], inclusive=inclusive)
    assert events_after(pod) == ([1, 2, 3] if inclusive else [1, 2])
    assert base_of(pod) == lived.early.rsplit("/", 1)[-1]


def test_a_named_point_is_found(lived: History, pod_for: NewPod) -> None:
    assert events_after(pod_for(lived, name="before the third")) == [1, 2]


def test_the_latest_is_all_there_is_also_with_settings_raised_after_the_base(lived: History, pod_for: NewPod) -> None:
    pod = pod_for(lived, latest=True)
    assert events_after(pod) == [1, 2, 3, 4, 5, 6]


def test_the_latest_from_a_backup_that_is_named(lived: History, pod_for: NewPod) -> None:
    pod = pod_for(lived, location=lived.early, latest=True)
    assert events_after(pod) == [1, 2, 3, 4, 5, 6]
    assert base_of(pod) == lived.early.rsplit("/", 1)[-1]


def test_immediate_is_the_end_of_the_newest_backup(lived: History, pod_for: NewPod) -> None:
    assert events_after(pod_for(lived, immediate=True)) == [1, 2, 3]


def test_a_transaction_of_before_the_backups_hands_nothing_over(lived: History, pod_for: NewPod) -> None:
    pod = pod_for(lived, xid="10")
    _, recovered, _ = pod.run()
    assert (recovered.outcome, recovered.reason) == ("Failed", "TargetNotReached"), recovered
    assert not pod.paths.pgdata.exists()


def test_a_transaction_that_never_was_is_refused_before_anything_is_fetched(lived: History, pod_for: NewPod) -> None:
    result = refused(pod_for(lived, xid="4000000"))
    assert result.reason == "TargetBeyondArchive", result
    assert "latest recoverable" in result.message


def test_a_target_before_the_first_backup_is_refused(lived: History, pod_for: NewPod) -> None:
    result = refused(pod_for(lived, time=lived.times[1] - timedelta(hours=1)))
    assert result.reason == "TargetBeforeFirstBackup", result
    assert "the first recoverable moment after it is" in result.message


def test_a_target_beyond_the_archive_is_refused_and_the_latest_is_named(lived: History, pod_for: NewPod) -> None:
    result = refused(pod_for(lived, time=lived.times[6] + timedelta(hours=1)))
    assert result.reason == "TargetBeyondArchive", result
    assert "latest recoverable" in result.message
    assert refused(pod_for(lived, lsn="FF/0")).reason == "TargetBeyondArchive"


def test_an_unknown_timeline_is_refused(lived: History, pod_for: NewPod) -> None:
    assert refused(pod_for(lived, latest=True, timeline=7)).reason == "TimelineUnknown"


@pytest.fixture
def damaged(lived: History) -> Iterator[History]:
    """A copy of the archive that the test may damage."""
    folder = new_folder()
    assert lived.store.claim is not None
    shutil.copytree(lived.store.claim.path, folder / "store")
    give_to_server_user(folder / "store")
    yield History(
        lived.major,
        claim(folder / "store"),
        lived.archive,
        lived.early,
        lived.late,
        lived.times,
        lived.positions,
        lived.xids,
    )
    shutil.rmtree(folder)


def whole_segments(history: History) -> list[Path]:
    assert history.store.claim is not None
    return sorted((Path(history.store.claim.path) / history.archive / "wal" / "00000001").glob("*[0-9A-F].zst"))


def between_the_backups(history: History) -> Path:
    """A whole segment that recovery from the early backup passes, and that no backup carries."""
    return next(path for path in whole_segments(history) if path.name.startswith("000000010000000000000004"))


def test_a_missing_segment_is_refused_before_anything_is_fetched(damaged: History, pod_for: NewPod) -> None:
    between_the_backups(damaged).unlink()
    result = refused(pod_for(damaged, time=damaged.times[3]))
    assert result.reason == "WALGap", result


def test_a_later_backup_leads_over_the_gap(damaged: History, pod_for: NewPod) -> None:
    between_the_backups(damaged).unlink()
    assert events_after(pod_for(damaged, time=damaged.times[5])) == [1, 2, 3, 4, 5]


def lose(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("latest", [False, True], ids=["time", "latest"])
@pytest.mark.parametrize("damage", [lose, cut, alter])
def test_a_segment_lost_after_the_resolution_never_promotes(
    damaged: History, pod_for: NewPod, damage: Callable[[Path], None], latest: bool
) -> None:
    target = {"latest": True} if latest else {"time": damaged.times[3]}
    pod = pod_for(damaged, location=damaged.early, **target)
    assert pod.restore().outcome == "Succeeded"
    damage(between_the_backups(damaged))
    server = pod.start_server()
    result = pod.recover()
    assert (result.outcome, result.reason) == ("Failed", "WALMissing"), result
    server.wait()
    assert "archive recovery complete" not in pod.server_log
    assert not list((pod.paths.data / "pg_wal").glob("*.history"))


@pytest.mark.parametrize("latest", [False, True], ids=["time", "latest"])
def test_a_segment_of_zeros_is_not_taken_for_the_end_of_the_archive(
    damaged: History, pod_for: NewPod, latest: bool
) -> None:
    """A whole object that says so of itself: PostgreSQL takes it for the end of WAL."""
    lost = between_the_backups(damaged)
    lost.unlink()
    name = str(lost.relative_to(Path(damaged.store.claim.path))) if damaged.store.claim else ""
    write_object(open_store(damaged.store), name, [bytes(SEGMENT)], Packing())
    give_to_server_user(lost)
    target = {"latest": True} if latest else {"time": damaged.times[3]}
    pod = pod_for(damaged, location=damaged.early, **target)
    assert pod.restore().outcome == "Succeeded"
    pod.start_server()
    result = pod.recover()
    assert (result.outcome, result.reason) == ("Failed", "RecoveredTooLittle"), result
    assert not pod.paths.pgdata.exists()


def test_a_killed_agent_is_taken_up_by_the_next(lived: History, pod_for: NewPod) -> None:
    first = pod_for(lived, location=lived.early, latest=True)
    assert first.restore().outcome == "Succeeded"
    server, agent = first.start_server(), first.start_recover()
    first.wait_for_step(agent, "Recover")
    agent.kill()
    server.kill()
    assert events_after(pod_for(lived, location=lived.early, latest=True)) == [1, 2, 3, 4, 5, 6]


def test_encrypted_wal_is_read_with_the_identity(major: int, pod_for: NewPod) -> None:
    folder = new_folder()
    key = pyrage.x25519.Identity.generate()
    identity = folder / "identity"
    identity.write_text(str(key))
    identity.chmod(0o644)
    store = claim(owned_folder(folder / "store"), recipients=[str(key.to_public())], identity_file=identity)
    try:
        with postgres_server(major, settings=Settings) as server:
            history, archive = start_history(server, store)
            write_event(history, archive, 1, filler=30_000)
            write_event(history, archive, 2)
            assert all(path.endswith(".age") for path in archive.segments())
        assert events_after(pod_for(history, latest=True)) == [1, 2]
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def branched(major: int) -> Iterator[History]:
    """Event 1, a promotion, event 20 on timeline 2; event 10 on the abandoned end of timeline 1."""
    folder = new_folder()
    with postgres_server(major, settings=Settings) as server:
        history, archive = start_history(server, claim(owned_folder(folder / "store")))
        write_event(history, archive, 1)
        standby = server.create_standby({"wal_keep_size": "1GB"})
        try:
            promoted = WALArchive(standby, history.store)
            standby.promote()
            write_event(history, archive, 10)
            promoted.store_segments()
            write_event(history, promoted, 20, filler=30_000)
            write_event(history, promoted, 21)
        finally:
            standby.destroy()
        yield history
    shutil.rmtree(folder)


def test_the_latest_follows_the_promotion(branched: History, pod_for: NewPod) -> None:
    pod = pod_for(branched, latest=True)
    assert events_after(pod) == [1, 20, 21]
    assert pod.report["timeline"] == 3, "the new timeline is nobody else's"


def test_a_time_after_the_promotion(branched: History, pod_for: NewPod) -> None:
    assert events_after(pod_for(branched, time=branched.times[20])) == [1, 20]


def test_a_time_before_the_promotion(branched: History, pod_for: NewPod) -> None:
    pod = pod_for(branched, time=branched.times[1])
    assert events_after(pod) == [1]
    assert pod.report["timeline"] == 3, "2 is taken"


def test_the_abandoned_timeline_can_be_had(branched: History, pod_for: NewPod) -> None:
    pod = pod_for(branched, timeline=1, latest=True)
    assert events_after(pod) == [1, 10]
    assert pod.report["timeline"] == 3, "2 is taken"
