"""Reading folders: mounted ConfigMaps and directories of a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.migrations.files import digest, parse
from pgwarden.migrations.source import read

pytestmark = pytest.mark.unit


def mount_config_map(folder: Path, data: dict[str, bytes]) -> None:
    """Lays files out as the kubelet mounts a ConfigMap: links through `..data` into a folder with a time stamp."""
    stamped = folder / "..2026_11_23_06_00_00.1234567"
    stamped.mkdir(parents=True)
    for name, content in data.items():
        (stamped / name).write_bytes(content)
        (folder / name).symlink_to(Path("..data") / name)
    (folder / "..data").symlink_to(stamped.name)


def test_mounted_config_maps_are_read_once_each_and_together_in_order(tmp_path: Path) -> None:
    mount_config_map(tmp_path / "core", {"2_b.up.sql": b"b", "1_a.up.sql": b"a", "1_a.down.sql": b"A"})
    mount_config_map(tmp_path / "extra", {"3_c.up.sql": b"c", "notes.txt": b"\xff"})
    migrations = read(tmp_path)
    assert [str(each) for each in migrations] == ["1 a", "2 b", "3 c"]
    assert [each.up.file for each in migrations if each.up] == [
        "core/1_a.up.sql",
        "core/2_b.up.sql",
        "extra/3_c.up.sql",
    ]


def test_config_map_data_and_its_mount_have_one_digest(
    tmp_path: Path,
) -> None:
    data = {"1_a.up.sql": b"a $$ $(X)", "1_a.down.sql": b"A", "2_b.up.sql": "ü".encode()}
    mount_config_map(tmp_path / "app", data)
    assert digest(read(tmp_path)) == digest(parse(data).migrations)


def test_a_directory_of_a_checkout_is_read_without_its_hidden_folders(tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").write_text("a")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "2_b.up.sql").write_text("b")
    (tmp_path / ".2_b.up.sql").write_text("b")
    assert [str(each) for each in read(tmp_path)] == ["1 a"]


def test_several_folders_are_one_set(tmp_path: Path) -> None:
    for number, name in ((1, "one"), (2, "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{number}_{name}.up.sql").write_text("")
    assert [each.version for each in read(tmp_path / "two", tmp_path / "one")] == [1, 2]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("")])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, make: object) -> None:
    assert callable(make)
    missing = tmp_path / "missing"
    make(missing)
    with pytest.raises(TaskError) as caught:
        read(missing)
    assert caught.value.reason == "SourceUnreadable"
    assert str(missing) in caught.value.message


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError) as caught:
        read(tmp_path)
    assert caught.value.reason == "NoMigrations"
    assert caught.value.remedy


def test_every_bad_file_is_named_up_to_a_bearable_number(tmp_path: Path) -> None:
    for number in range(1, 9):
        (tmp_path / f"{number}_a.up.sql").write_bytes(b"\xff")
    with pytest.raises(TaskError) as caught:
        read(tmp_path)
    assert caught.value.reason == "InvalidEncoding"
    assert "1_a.up.sql: line 1" in caught.value.message
    assert "5_a.up.sql" in caught.value.message and "and 3 more" in caught.value.message


def test_files_that_changed_after_planning_are_refused_and_the_task_may_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").write_text("a")
    planned = digest(read(tmp_path))
    assert read(tmp_path, expected_digest=planned)
    (tmp_path / "1_a.up.sql").write_text("b")
    with pytest.raises(TaskError) as caught:
        read(tmp_path, expected_digest=planned)
    assert (caught.value.reason, caught.value.retryable) == ("SourceChanged", True)
