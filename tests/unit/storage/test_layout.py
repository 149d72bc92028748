"""Paths in a store are those the documentation shows, and no name leads anywhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout


def test_a_backup_lies_where_the_documentation_says() -> None:
    archive = layout.archive_folder("shop", "operational")
    location = layout.backup_folder(archive, "20261123T020000Z-full")
    attempt = layout.attempt_folder(2, "0a1b2c3d")
    assert layout.archive_file(archive) == "shop/operational/0001/archive.json"
    assert layout.record_file(location) == "shop/operational/0001/backups/20261123T020000Z-full/backup.json"
    assert layout.archive_object(attempt, "base", 7, encrypted=True) == "attempt-2-0a1b2c3d/base.tar.zst.00007.age"
    assert layout.archive_object(attempt, "16384", 0, encrypted=False) == "attempt-2-0a1b2c3d/16384.tar.zst.00000"
    assert layout.manifest_object(attempt, encrypted=True) == "attempt-2-0a1b2c3d/backup_manifest.zst.age"


@pytest.mark.parametrize(
    "path",
    ["..", "a/../b", "/etc/passwd", "a//b", "a/", "", ".", "a/.hidden", "a\\b", "a\nb", "a\0b", "é", "-rf", "x" * 256],
)
def test_names_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(TaskError) as caught:
        layout.safe_path(path)
    assert caught.value.reason == "UnsafePath"


def test_paths_longer_than_a_key_may_be_are_refused() -> None:
    with pytest.raises(ValueError, match="plain names"):
        layout.checked_path("/".join(["x" * 200] * 6))


@given(st.text(max_size=40))
def test_whatever_is_accepted_stays_below_its_folder(path: str) -> None:
    try:
        accepted = layout.checked_path(path)
    except ValueError:
        return
    parts = accepted.split("/")
    assert all(part and not part.startswith((".", "-")) for part in parts)
    assert layout.join("folder", accepted) == f"folder/{path}"
