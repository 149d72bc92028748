"""The data volume: no request's work is taken for another's, and nothing that is there is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.restores.paths import RestorePaths
from pgwarden.restores.volume import Marker, RestoreVolume, State


def volume(mount: Path, request_uid: str = "first") -> RestoreVolume:
    return RestoreVolume(RestorePaths(mount / "pgdata", mount / "scratch", request_uid))


def mark(held: RestoreVolume, state: State = State.LAID_OUT) -> None:
    held.write(Marker(request_uid=held.paths.request_uid, location="ns/c/0001/backups/b", state=state))


def test_an_empty_volume_has_no_marker(tmp_path: Path) -> None:
    ours = volume(tmp_path)
    with ours.held():
        assert ours.marker() is None


def test_a_marker_is_read_back(tmp_path: Path) -> None:
    with volume(tmp_path).held():
        mark(volume(tmp_path))
    with volume(tmp_path).held():
        marker = volume(tmp_path).marker()
    assert marker is not None
    assert marker.state is State.LAID_OUT


@pytest.mark.parametrize("state", list(State))
def test_another_requests_volume_is_refused_in_every_state(tmp_path: Path, state: State) -> None:
    with volume(tmp_path).held():
        mark(volume(tmp_path), state)
    theirs = volume(tmp_path, "second")
    with theirs.held(), pytest.raises(TaskError) as refused:
        theirs.marker()
    assert refused.value.reason == "VolumeOfAnotherRequest"
    assert "first" in refused.value.message


def test_data_that_no_restore_put_there_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "pgdata").mkdir()
    (tmp_path / "pgdata" / "PG_VERSION").write_text("18\n")
    ours = volume(tmp_path)
    with ours.held(), pytest.raises(TaskError) as refused:
        ours.marker()
    assert refused.value.reason == "TargetNotEmpty"


def test_a_work_folder_without_a_marker_is_not_ours(tmp_path: Path) -> None:
    ours = volume(tmp_path)
    (ours.paths.data / "base").mkdir(parents=True)
    with ours.held(), pytest.raises(TaskError) as refused:
        ours.marker()
    assert refused.value.reason == "TargetNotEmpty"
    assert ours.paths.data.exists()


def test_two_attempts_do_not_work_at_once(tmp_path: Path) -> None:
    with volume(tmp_path).held():
        with pytest.raises(TaskError) as refused, volume(tmp_path).held():
            raise AssertionError("both attempts hold the volume")
        assert (refused.value.reason, refused.value.retryable) == ("AnotherAttemptRunning", True)
    with volume(tmp_path).held():
        assert volume(tmp_path).marker() is None


def test_a_cut_marker_is_never_read(tmp_path: Path) -> None:
    ours = volume(tmp_path)
    with ours.held():
        ours.paths.marker.write_text('{"requestUid": "fir')
        with pytest.raises(TaskError) as refused:
            ours.marker()
    assert refused.value.reason == "MarkerUnreadable"


def test_the_directory_is_renamed_in_last_and_never_over_another(tmp_path: Path) -> None:
    ours = volume(tmp_path)
    with ours.held():
        ours.clear()
        (ours.paths.data / "PG_VERSION").write_text("18\n")
        ours.paths.pgdata.mkdir()
        (ours.paths.pgdata / "stranger").touch()
        with pytest.raises(TaskError) as refused:
            ours.rename_in()
        assert refused.value.reason == "TargetNotEmpty"
        (ours.paths.pgdata / "stranger").unlink()
        ours.rename_in()
        ours.rename_in()
    assert (ours.paths.pgdata / "PG_VERSION").read_text() == "18\n"
    assert not ours.paths.wal.exists()


def test_what_a_killed_attempt_unpacked_is_deleted_and_only_that(tmp_path: Path) -> None:
    ours, theirs = volume(tmp_path), volume(tmp_path, "second")
    for folder in (ours.paths.tablespace(1), theirs.paths.tablespace(1)):
        folder.mkdir(parents=True)
    with ours.held():
        ours.clear()
        (ours.paths.data / "half").touch()
        ours.clear()
    assert list(ours.paths.data.iterdir()) == []
    assert not ours.paths.tablespaces.exists()
    assert theirs.paths.tablespace(1).exists()


def test_a_volume_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    missing = volume(tmp_path / "not-mounted")
    with pytest.raises(TaskError) as refused, missing.held():
        raise AssertionError("a volume that is not there was held")
    assert refused.value.reason == "VolumeNotWritable"
