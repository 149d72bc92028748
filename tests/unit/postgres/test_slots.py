"""What a slot's file tells, and that one which tells nothing is still named."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from pgwarden.postgres.slots import MAGIC, Slot, slot_of, slots_in


def state(
    name: str, database: int = 5, plugin: bytes = b"pgoutput", *, magic: int = MAGIC, persistence: int = 0
) -> bytes:
    """A state file of PostgreSQL 17."""
    header = struct.pack("=IIII", magic, 0, 5, 184)
    return header + struct.pack("=64sII40x?64s??5x", name.encode(), database, persistence, False, plugin, False, True)


def test_a_plugin_of_any_name_is_quoted() -> None:
    slot = slot_of("feed", state("feed", plugin=b"x'); DROP TABLE t; --"))
    assert slot == Slot("feed", 5, "x'); DROP TABLE t; --", failover=True)
    assert slot.making == (
        "SELECT pg_create_logical_replication_slot('feed', 'x''); DROP TABLE t; --', failover => true)"
    )


@pytest.mark.parametrize("content", [b"", state("feed")[:100], state("feed", magic=1), state("another")])
def test_a_slot_whose_file_tells_nothing_is_known_by_its_name(content: bytes) -> None:
    assert slot_of("feed", content) == Slot("feed", readable=False)


@pytest.mark.parametrize("persistence", [1, 2])
def test_a_slot_that_was_not_meant_to_last_is_none(persistence: int) -> None:
    assert slot_of("feed", state("feed", persistence=persistence)) is None


def test_what_is_no_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    folder = tmp_path / "pg_replslot"
    for name in ("folder", "link", "pipe"):
        (folder / name).mkdir(parents=True)
    (folder / "folder" / "state").mkdir()
    (folder / "link" / "state").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe" / "state")
    assert slots_in(tmp_path) == [Slot(name, readable=False) for name in ("folder", "link", "pipe")]


def test_slots_are_read_from_their_folders(tmp_path: Path) -> None:
    assert slots_in(tmp_path) == []
    for name in ("b", "a"):
        (tmp_path / "pg_replslot" / name).mkdir(parents=True)
        (tmp_path / "pg_replslot" / name / "state").write_bytes(state(name, database=0, plugin=b""))
    assert [(slot.name, slot.database) for slot in slots_in(tmp_path)] == [("a", 0), ("b", 0)]
