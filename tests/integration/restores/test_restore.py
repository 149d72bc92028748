"""A backup taken under load comes back: every row that was committed when it ended, and none that was not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgwarden.jobs.task import RESULT_LIMIT
from pgwarden.restores.contract import SQLCheck
from tests.support.postgres import new_folder
from tests.support.restore_pod import RestorePod

from .conftest import CONTENTS, NewPod, StoredBackup

PASSWORD = "new instance's own ∑ password"


@pytest.fixture
def password_file() -> Iterator[Path]:
    """Where the pod's user may read it: pytest closes its own folders to others whenever it starts anew."""
    folder = new_folder()
    file = folder / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o644)
    yield file
    shutil.rmtree(folder)


def handed_over(pod: RestorePod) -> dict[str, object]:
    """Runs the pod to its end and returns the report of `recover`."""
    restored, recovered, code = pod.run()
    assert (restored.reason, recovered.reason, code) == ("LaidOut", "Recovered", 0), recovered
    return recovered.report


def test_what_was_committed_when_the_backup_ended_is_back(stored: StoredBackup, new_pod: NewPod) -> None:
    pod = new_pod(stored)
    report = handed_over(pod)
    assert report["timeline"] == 2
    assert report["databases"] == ["postgres", "second", "template0", "template1"]
    with pod.instance() as instance:
        assert instance.query(CONTENTS) == stored.contents
        assert instance.query("SELECT id FROM here", "second") == 42
        assert instance.query("SELECT count(*) FROM scratch_pad") == 0, "unlogged tables are empty after recovery"
        with instance.connect() as copy:
            stored.load.check(copy, str(report["endLsn"]))


def test_the_backup_took_several_segments_of_wal(stored: StoredBackup, new_pod: NewPod) -> None:
    """Or the test above would prove less than it says."""
    pod = new_pod(stored)
    pod.restore()
    assert len([path for path in pod.paths.wal.iterdir() if len(path.name) == 24]) >= 3


def test_the_copy_lives_on_the_volume_alone(stored: StoredBackup, new_pod: NewPod) -> None:
    """Tablespaces are beside PGDATA, and the original's folder is neither linked nor touched."""
    before = sorted((str(path), path.stat().st_mtime_ns) for path in stored.tablespace.rglob("*"))
    pod = new_pod(stored)
    handed_over(pod)
    links = list((pod.paths.pgdata / "pg_tblspc").iterdir())
    assert [link.readlink() for link in links] == [pod.paths.tablespace(int(links[0].name))]
    with pod.instance() as instance:
        instance.execute("INSERT INTO on_fast VALUES (-1, 'written by the copy')", "CHECKPOINT")
    assert sorted((str(path), path.stat().st_mtime_ns) for path in stored.tablespace.rglob("*")) == before


def test_only_the_finished_directory_is_called_pgdata(stored: StoredBackup, new_pod: NewPod) -> None:
    pod = new_pod(stored)
    assert pod.restore().outcome == "Succeeded"
    assert not pod.paths.pgdata.exists()
    server = pod.start_server()
    assert pod.recover().outcome == "Succeeded"
    assert server.wait() == 0
    assert (pod.paths.pgdata / "PG_VERSION").read_text().strip() == str(stored.major)
    assert pod.paths.pgdata.stat().st_mode & 0o7777 == 0o700
    assert not pod.paths.wal.exists()
    assert not (pod.paths.pgdata / "recovery.signal").exists()


def test_the_superuser_gets_the_new_password_and_it_appears_nowhere(
    stored: StoredBackup, new_pod: NewPod, password_file: Path
) -> None:
    pod = new_pod(stored, password_file=password_file)
    _, recovered, _ = pod.run()
    assert recovered.report["superuser"] == "postgres"
    written = [container.log for container in pod.containers]
    written += [path.read_text(errors="replace") for path in pod.folder.rglob("*") if path.is_file()]
    assert not any(PASSWORD in text or "SCRAM-SHA-256$" in text for text in written)
    with pod.instance(PASSWORD) as instance, instance.connect(password=PASSWORD) as copy:
        assert copy.info.user == "postgres"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            instance.connect()


def test_the_users_checks_are_answered(stored: StoredBackup, new_pod: NewPod) -> None:
    checks = [
        SQLCheck(name="events", database="postgres", query="SELECT count(*) FROM events", expect="60000"),
        SQLCheck(name="second", database="second", query="SELECT id FROM here", expect="42"),
        SQLCheck(name="runs", database="postgres", query="SELECT 1 WHERE false"),
    ]
    report = handed_over(new_pod(stored, checks=checks))
    results = {check["name"]: check for check in report["checks"]}  # type: ignore[attr-defined]
    assert {name: results[name]["passed"] for name in ("events", "second", "runs")} == {
        "events": True,
        "second": True,
        "runs": True,
    }
    assert results["checksums"]["passed"]


def test_a_failed_check_hands_nothing_over(stored: StoredBackup, new_pod: NewPod) -> None:
    checks = [
        SQLCheck(name="too many", database="postgres", query="SELECT count(*) FROM events", expect="60001"),
        SQLCheck(name="broken", database="postgres", query="SELECT nothing FROM nowhere"),
        SQLCheck(name="no such database", database="third", query="SELECT 1"),
        SQLCheck(name="writes", database="second", query="INSERT INTO here VALUES (1)"),
        SQLCheck(name="two statements", database="second", query="SELECT 1; SELECT 2"),
        SQLCheck(name="fine", database="second", query="SELECT 1", expect="1"),
    ]
    pod = new_pod(stored, checks=checks)
    _, recovered, code = pod.run()
    assert (recovered.outcome, recovered.reason) == ("Failed", "CheckFailed")
    assert "'too many' failed: '60000', expected '60001'" in recovered.message
    assert code == 0, "the server is shut down cleanly all the same"
    assert not pod.paths.pgdata.exists()
    results = {check["name"]: check["passed"] for check in recovered.report["checks"]}
    assert results["fine"]
    failed = {name for name, passed in results.items() if not passed}
    assert failed == {"too many", "broken", "no such database", "writes", "two statements"}


def test_the_result_fits_and_the_whole_report_stays_on_the_volume(stored: StoredBackup, new_pod: NewPod) -> None:
    checks = [
        SQLCheck(name=f"check {number:02d} " + "x" * 50, database="postgres", query="SELECT repeat('y', 900)")
        for number in range(32)
    ]
    pod = new_pod(stored, checks=checks)
    _, recovered, _ = pod.run()
    assert recovered.outcome == "Succeeded"
    assert len(recovered.to_message().encode()) <= RESULT_LIMIT
    kept = [check["name"] for check in json.loads(pod.paths.marker.read_text())["recovered"]["checks"]]
    assert {check.name for check in checks} < set(kept), "and those that are made of every restore"


def test_a_second_pod_only_tells_what_the_first_one_did(stored: StoredBackup, new_pod: NewPod) -> None:
    first = handed_over(new_pod(stored))
    again = new_pod(stored)
    before = (again.paths.pgdata / "global" / "pg_control").read_bytes()
    restored, recovered, code = again.run()
    assert (restored.report["repeated"], recovered.report["repeated"], code) == (True, True, 0)
    assert recovered.report["endLsn"] == first["endLsn"]
    assert again.server_log == "", "no server was started on the handed over data"
    assert (again.paths.pgdata / "global" / "pg_control").read_bytes() == before


def test_a_volume_that_fsgroup_opened_to_a_group_is_closed_again(stored: StoredBackup, new_pod: NewPod) -> None:
    """What the kubelet does to every file when the next pod mounts the claim."""
    assert new_pod(stored).restore().outcome == "Succeeded"
    pod = new_pod(stored)
    for path in [pod.volume, *pod.volume.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o2070 if path.is_dir() else 0o060))
    assert pod.paths.data.stat().st_mode & 0o7777 == 0o2770
    assert handed_over(pod)["timeline"] == 2
    assert pod.paths.pgdata.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("parallel", [1, 8])
def test_pieces_are_unpacked_in_any_number_at_a_time(stored: StoredBackup, new_pod: NewPod, parallel: int) -> None:
    pod = new_pod(stored, parallel=parallel)
    restored = pod.restore()
    assert restored.outcome == "Succeeded"
    assert restored.report["filesVerified"] > 900
