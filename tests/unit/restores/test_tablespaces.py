"""tablespace_map is read as PostgreSQL writes it, and written as PostgreSQL reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.jobs.errors import TaskError
from pgwarden.restores.tablespaces import format_tablespace_map, parse_tablespace_map


@given(st.dictionaries(st.integers(min_value=1, max_value=2**32 - 1), st.text(min_size=1)))
def test_any_location_survives(locations: dict[int, str]) -> None:
    assert parse_tablespace_map(format_tablespace_map(locations)) == locations


def test_a_location_with_blanks_and_line_ends_is_one_location() -> None:
    assert parse_tablespace_map("16400 /mnt/fast disk\n16401 /mnt/a\\\nb\\\\c\n") == {
        16400: "/mnt/fast disk",
        16401: "/mnt/a\nb\\c",
    }


@pytest.mark.parametrize("text", ["no oid here\n", "16400\n", "16400 /a\nx /b\n"])
def test_what_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(TaskError) as refused:
        parse_tablespace_map(text)
    assert refused.value.reason == "TablespaceMapUnreadable"
