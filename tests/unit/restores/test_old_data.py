"""The data directory that a restore replaces: whenever the work stops, one more try ends where it should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.restores.exchange import exchange, refuse_unless_exchangeable
from pgwarden.restores.in_place_volume import is_carried, replace_with_copy
from pgwarden.restores.old_data import NOTICE, OldData, OldState
from pgwarden.restores.paths import InPlacePaths


def data_directory(folder: Path, content: str) -> Path:
    """What a data directory looks like from far away."""
    (folder / "global").mkdir(parents=True)
    (folder / "global/pg_control").write_text(content)
    (folder / "PG_VERSION").write_text("17\n")
    return folder


@pytest.fixture
def old(tmp_path: Path) -> OldData:
    """An old directory in use, and a restored one beside it."""
    paths = InPlacePaths(tmp_path / "pgdata", tmp_path / "scratch", "first")
    data_directory(paths.pgdata, "old")
    data_directory(paths.data, "restored")
    return OldData(paths)


def control(folder: Path) -> str:
    file = folder / "global/pg_control"
    return file.read_text() if file.exists() else ""


def test_a_guarded_directory_is_there_and_full_and_has_no_control_file(old: OldData) -> None:
    old.guard()
    assert old.state() is OldState.GUARDED
    assert (old.paths.pgdata / "PG_VERSION").exists()
    assert not control(old.paths.pgdata)
    assert f"mv {old.guarded(old.paths.pgdata)}" in (old.paths.pgdata / NOTICE).read_text()


def test_what_was_guarded_is_put_back_as_it_was(old: OldData) -> None:
    before = sorted(path.name for path in old.paths.pgdata.rglob("*"))
    old.guard()
    old.put_back()
    assert control(old.paths.pgdata) == "old"
    assert sorted(path.name for path in old.paths.pgdata.rglob("*")) == before
    assert old.state() is OldState.IN_USE


def test_the_restored_directory_takes_the_place_and_the_old_one_is_whole_beside_it(old: OldData) -> None:
    old.guard()
    old.replace()
    assert control(old.paths.pgdata) == "restored"
    assert control(old.paths.before) == "old"
    assert not (old.paths.before / NOTICE).exists()
    assert old.state() is OldState.REPLACED


def exchanged(old: OldData) -> None:
    exchange(old.paths.data, old.paths.pgdata)


def moved_beside(old: OldData) -> None:
    exchanged(old)
    old.paths.data.rename(old.paths.before)


def opened(old: OldData) -> None:
    moved_beside(old)
    old.open(old.paths.before)


@pytest.mark.parametrize("killed_after", [lambda old: None, exchanged, moved_beside, opened, OldData.replace])
def test_a_hand_over_that_was_killed_anywhere_is_finished_by_the_next_one(
    old: OldData, killed_after: Callable[[OldData], None]
) -> None:
    old.guard()
    killed_after(old)
    old.replace()
    assert (control(old.paths.pgdata), control(old.paths.before)) == ("restored", "old")
    assert not old.paths.data.exists()
    assert not (old.paths.before / NOTICE).exists()


@pytest.mark.parametrize("killed_after", [exchanged, moved_beside, opened, OldData.replace])
def test_what_was_handed_over_is_not_put_back(old: OldData, killed_after: Callable[[OldData], None]) -> None:
    old.guard()
    killed_after(old)
    with pytest.raises(TaskError) as refused:
        old.put_back()
    assert refused.value.reason == "AlreadyHandedOver"
    assert str(old.paths.before) in refused.value.message


def test_a_put_back_that_was_killed_is_finished_by_the_next_one(old: OldData) -> None:
    old.guard()
    old.open(old.paths.pgdata)
    old.put_back()
    assert control(old.paths.pgdata) == "old"
    assert not (old.paths.pgdata / NOTICE).exists()


def test_a_server_that_runs_loses_its_lock_and_gets_it_back_with_the_directory(old: OldData) -> None:
    lock = old.paths.pgdata / "postmaster.pid"
    lock.write_text("42\n")
    old.guard()
    assert not lock.exists()
    assert old.lock_aside(old.paths.pgdata).exists()
    old.put_back()
    assert lock.read_text() == "42\n"
    old.guard()
    old.replace()
    assert (old.paths.before / "postmaster.pid").exists()
    assert not lock.exists()


def test_another_requests_guard_is_refused_and_left(old: OldData) -> None:
    old.guard()
    second = OldData(InPlacePaths(old.paths.pgdata, old.paths.shared, "second"))
    for step in (second.state, second.guard, second.put_back, second.replace):
        with pytest.raises(TaskError) as refused:
            step()
        assert refused.value.reason == "GuardOfAnotherRequest"
    assert old.state() is OldState.GUARDED


def test_a_folder_without_a_control_file_is_no_data_directory(tmp_path: Path) -> None:
    (tmp_path / "pgdata").mkdir()
    with pytest.raises(TaskError) as refused:
        OldData(InPlacePaths(tmp_path / "pgdata", tmp_path, "first")).guard()
    assert refused.value.reason == "DataDirectoryMissing"


def test_old_data_are_deleted_with_their_tablespaces_on_the_same_volume_only(old: OldData, tmp_path: Path) -> None:
    ours, elsewhere = old.paths.all_tablespaces / "0a/16385", tmp_path / "another-volume"
    for folder in (ours, elsewhere):
        folder.mkdir(parents=True)
    (old.paths.pgdata / "pg_tblspc").mkdir()
    (old.paths.pgdata / "pg_tblspc/16385").symlink_to(ours)
    (old.paths.pgdata / "pg_tblspc/16386").symlink_to(elsewhere)
    old.guard()
    old.replace()
    assert old.discard() == [str(elsewhere)]
    assert not old.paths.before.exists() and not ours.parent.exists()
    assert elsewhere.exists()
    assert control(old.paths.pgdata) == "restored"
    assert old.discard() == []


def test_names_are_exchanged_where_the_file_system_can(tmp_path: Path) -> None:
    refuse_unless_exchangeable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_exchange_with_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "one", tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "carried"),
    [
        ("postgresql.conf", True),
        ("postgresql.auto.conf", True),
        ("pg_hba.conf", True),
        ("extra.conf", True),
        ("conf.d", True),
        ("server.key", True),
        ("PG_VERSION", False),
        ("postmaster.opts", False),
        ("standby.signal", False),
        ("base", False),
        (NOTICE, False),
    ],
)
def test_only_what_an_administrator_wrote_is_taken_over(name: str, carried: bool) -> None:
    assert is_carried(name) is carried


def test_a_file_a_link_and_a_folder_take_the_place_of_what_was_there(tmp_path: Path) -> None:
    source, target = tmp_path / "old", tmp_path / "new"
    for folder in (source, target):
        (folder / "conf.d").mkdir(parents=True)
    (source / "conf.d/a.conf").write_text("a")
    (target / "conf.d/b.conf").write_text("b")
    (source / "server.key").write_text("key")
    (source / "server.key").chmod(0o600)
    (source / "link.conf").symlink_to("/elsewhere")
    for name in ("conf.d", "server.key", "link.conf"):
        for _ in range(2):
            replace_with_copy(source / name, target / name)
    assert [path.name for path in (target / "conf.d").iterdir()] == ["a.conf"]
    assert (target / "server.key").stat().st_mode & 0o777 == 0o600
    assert (target / "link.conf").readlink() == Path("/elsewhere")
