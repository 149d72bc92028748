"""Where archiving goes on, and when PostgreSQL would wait for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.archiving.plan import Position, Span, first, floor, resume, spans, waits_for

SEGMENT = 16 << 20
HISTORY = b"1\t0/5000000\tno recovery target specified\n\n2\t0/9001000\tbefore 2026-01-01\n"
PATH = [Span(1, 0x5000000), Span(2, 0x9001000), Span(3)]


def test_a_history_file_tells_the_path() -> None:
    assert spans(HISTORY, 3) == PATH
    assert spans(b"", 1) == [Span(1)]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({}, None),
        ({3: 0xA000000}, Position(3, 0xA000000)),
        ({1: 0x5000000, 2: 0x8000000}, Position(2, 0x8000000)),
        # All of timeline 2 that counts is there, and more: the next one begins with its first segment.
        ({2: 0x9001000}, Position(3, 0x9000000)),
        ({2: 0xB000000}, Position(3, 0x9000000)),
        ({1: 0x4000000}, Position(1, 0x4000000)),
        ({1: 0x5000000}, Position(2, 0x5000000)),
    ],
)
def test_archiving_goes_on_where_the_archive_ends(stored: dict[int, int], expected: Position | None) -> None:
    assert resume(PATH, stored.get, SEGMENT) == expected


@given(ends=st.dictionaries(st.integers(1, 3), st.integers(0, 0xF000000)))
def test_no_wal_of_the_path_is_skipped(ends: dict[int, int]) -> None:
    """Between the end of what is held on the newest timeline and where archiving goes on, nothing is left out."""
    found = resume(PATH, ends.get, SEGMENT)
    if found is None:
        assert ends == {}
        return
    newest = max(ends)
    assert found.timeline in (newest, newest + 1)
    assert found.at <= ends[newest]


@given(kept=st.integers(0, 0xF000000))
def test_an_empty_archive_begins_where_the_slot_keeps_wal(kept: int) -> None:
    begun = first(PATH, kept, SEGMENT)
    assert begun.at == floor(kept, SEGMENT)
    span = next(span for span in PATH if span.timeline == begun.timeline)
    assert span.end is None or kept < span.end


@pytest.mark.parametrize(
    ("names", "waits"),
    [
        ("", False),
        ("*", True),
        ("FIRST 1 (*)", True),
        ("any 2 (a, b, *)", True),
        ("2 (a, b)", False),
        ("replica1, replica2", False),
        ("pgwarden", False),
        ('ANY 1 ("pgwarden/archive-wal/0011", b)', True),
        ('"PGWARDEN/archive-wal/0011"', True),
        ('FIRST 1 ("a,*", "b ""x""")', False),
    ],
)
def test_synchronous_standby_names_that_would_make_commits_wait(names: str, waits: bool) -> None:
    assert waits_for(names, "pgwarden/archive-wal/0011") is waits
