"""What is sent before the first query."""

from __future__ import annotations

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import refuse_old_server, startup_options


def test_blanks_and_backslashes_of_settings_are_escaped() -> None:
    assert startup_options({"a": "1 s", "b": "x\\y"}) == "-c a=1\\ s -c b=x\\\\y"


def test_servers_below_15_are_refused() -> None:
    address = DatabaseAddress(host="db")
    refuse_old_server(150000, address)
    with pytest.raises(TaskError) as caught:
        refuse_old_server(140013, address)
    assert caught.value.reason == "ServerTooOld"
    assert "PostgreSQL 14" in caught.value.message
