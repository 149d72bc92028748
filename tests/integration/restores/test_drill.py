"""A drill brings everything back, looks at it more closely than a restore, hands nothing over and changes no store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pgwarden.api.wal import parse_lsn
from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.state import JobPhase
from pgwarden.jobs.task import Result
from pgwarden.restores.contract import SQLCheck, TargetPoint
from pgwarden.restores.plan import ObservedRestore, plan
from pgwarden.restores.progress import DRILL_STEPS
from tests.support.objects import NOW, Body, attempt, drill_request, ended_job, written
from tests.support.postgres import bin_dir, new_folder, owned_folder, postgres_server
from tests.support.restore_pod import RestorePod
from tests.support.stored_backup import store_backup
from tests.support.wal_archive import WALArchive

from .conftest import NewPod, StoredBackup

# An index in this order is as sound as its comparison: replaced later on, it is what another glibc makes of texts.
OWN_ORDER = (
    "CREATE FUNCTION compare(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($1, $2)'",
    "CREATE OPERATOR CLASS own_order FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,"
    " OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 compare(int, int)",
    "CREATE TABLE ordered (id int)",
    "INSERT INTO ordered SELECT generate_series(1, 100)",
    "CREATE INDEX in_own_order ON ordered (id own_order)",
)
OTHER_ORDER = OWN_ORDER[0].replace("CREATE", "CREATE OR REPLACE").replace("$1, $2", "$2, $1")


def test_everything_comes_back_and_nothing_is_handed_over(stored: StoredBackup, new_pod: NewPod) -> None:
    before = contents(stored.store)
    check = SQLCheck(name="events", database="postgres", query="SELECT count(*) FROM events", expect="60000")
    pod = new_pod(stored, drill=True, checks=[check])
    restored, recovered, code = pod.run()
    assert (recovered.reason, code) == ("Recovered", 0), (recovered, pod.server_log)
    assert {each["name"]: each["passed"] for each in recovered.report["checks"]} == {
        "databases": True,
        "extensions": True,
        "collations": True,
        "events": True,
        "amcheck": True,
        "checksums": True,
    }
    assert steps(restored) + steps(recovered) == list(DRILL_STEPS)
    assert not pod.paths.pgdata.exists()
    assert contents(stored.store) == before


def test_its_times_are_those_of_the_status(stored: StoredBackup, new_pod: NewPod) -> None:
    restored, recovered, _ = new_pod(stored, drill=True).run()
    status = status_after(restored, recovered, source={"backupRef": {"name": "nightly"}})
    assert [step["state"] for step in status["steps"]] == ["Done"] * len(DRILL_STEPS)
    assert status["checksPassed"] == 5
    assert "dataLossSeconds" not in status


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = new_folder()
    yield folder
    shutil.rmtree(folder)


def test_on_an_idle_database_nothing_is_lost_although_the_last_commit_is_old(
    major: int, own_store: StoreLocation, volume: Path
) -> None:
    """What was last committed tells nothing of how new the data are: the archive does."""
    with postgres_server(major, settings={"wal_keep_size": "1GB"}) as server:
        archive = WALArchive(server, own_store)
        server.execute("CREATE TABLE events (number int)")
        store_backup(server, own_store)
        server.execute("INSERT INTO events VALUES (1)")
        committed = server.query("SELECT clock_timestamp()")
        assert isinstance(committed, datetime)
        archive.note_moment()
        server.execute("SELECT pg_switch_wal()", "SELECT pg_sleep(2)")
        last = archive.note_moment()
    pod = RestorePod(major, volume, own_store, "", archive=archive.archive, target=TargetPoint(latest=True), drill=True)
    try:
        restored, recovered, _ = pod.run()
    finally:
        pod.destroy()
    resolved = restored.report["resolved"]
    assert abs(datetime.fromisoformat(resolved["archivedTime"]) - last) < timedelta(seconds=1)
    assert parse_lsn(recovered.report["endLsn"]) >= parse_lsn(resolved["archivedLsn"])
    status = status_after(restored, recovered)
    restored_time = datetime.fromisoformat(status["restoredTime"])
    assert restored_time - committed > timedelta(seconds=1)
    asked = datetime.fromisoformat(next(step["startTime"] for step in status["steps"] if step["name"] == "Resolve"))
    assert status["dataLossSeconds"] == max(0, round((asked - restored_time).total_seconds()))


def test_an_index_that_is_in_another_order_than_its_comparison_says_is_found(
    major: int, own_store: StoreLocation, volume: Path
) -> None:
    """Every page is as its checksum says, and every file as the manifest says: only pg_amcheck finds it."""
    with postgres_server(major) as server:
        server.execute(*OWN_ORDER, OTHER_ORDER)
        location = store_backup(server, own_store)
    for drill in (False, True):
        pod = RestorePod(major, owned_folder(volume / str(drill)), own_store, location, drill=drill)
        try:
            _, recovered, _ = pod.run()
        finally:
            pod.destroy()
        if drill:
            assert recovered.reason == "CheckFailed", recovered
            assert "'amcheck' failed" in recovered.message and "in_own_order" in recovered.message
            assert "Nothing was handed over" in recovered.remedy
        else:
            assert recovered.reason == "Recovered", recovered


def test_an_image_without_amcheck_is_told_and_no_failure(stored: StoredBackup, new_pod: NewPod, folder: Path) -> None:
    installed = bin_dir(stored.major).parent
    image = folder / "image"
    shutil.copytree(installed, image, symlinks=True)
    for path in [*image.rglob("amcheck*")]:
        path.unlink()
    folder.chmod(0o755)
    pod = new_pod(stored, drill=True)
    assert pod.restore().outcome == "Succeeded"
    server = pod.start_server(path=f"{image / 'bin'}:/usr/bin:/bin")
    recovered = pod.recover()
    assert (recovered.reason, server.wait()) == ("Recovered", 0), (recovered, pod.server_log)
    assert "amcheck" not in {each["name"] for each in recovered.report["checks"]}
    assert any("no amcheck" in finding for finding in recovered.report["findings"])


def contents(store: StoreLocation) -> dict[str, tuple[int, int]]:
    """Every file of a claim, with its size and when it was written."""
    assert store.claim is not None
    root = Path(store.claim.path)
    stats = {str(path): path.stat() for path in root.rglob("*") if path.is_file()}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def steps(result: Result) -> list[str]:
    return [step["name"] for step in result.report["steps"]]


def status_after(restored: Result, recovered: Result, **spec: Any) -> Body:
    """The status that the operator writes when it hears what the two agents told."""
    job = ended_job(recovered, told={"restore": restored, "agent": recovered})
    assert job.phase is JobPhase.SUCCEEDED
    before = drill_request(status={"attempts": [attempt()], "startTime": NOW.isoformat()}, **spec)
    return written(plan(before, ObservedRestore(backup=None, job=job), NOW), before)
