"""What pg_controldata prints is understood, or said not to be."""

from __future__ import annotations

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.restores.control_data import parse_control_data

PRINTED = """\
pg_control version number:            1800
Database system identifier:           7711254254696325175
Database cluster state:               shut down
Latest checkpoint's TimeLineID:       2
Min recovery ending loc's timeline:   0
wal_level setting:                    logical
max_connections setting:              60
max_worker_processes setting:         8
max_wal_senders setting:              10
max_prepared_xacts setting:           0
max_locks_per_xact setting:           64
Bytes per WAL segment:                16777216
Data page checksum version:           1
"""


def test_control_data_are_read() -> None:
    control = parse_control_data(PRINTED)
    assert control.shut_down
    assert control.data_checksums
    assert (control.system_identifier, control.timeline, control.max_connections) == ("7711254254696325175", 2, 60)


def test_a_copy_that_was_not_shut_down_is_told_apart() -> None:
    assert not parse_control_data(PRINTED.replace("shut down", "shut down in recovery")).shut_down
    assert not parse_control_data(PRINTED.replace("shut down", "in production")).shut_down


def test_a_missing_line_is_told() -> None:
    with pytest.raises(TaskError) as refused:
        parse_control_data(PRINTED.replace("max_wal_senders", "max_wal_other"))
    assert refused.value.reason == "ControlDataUnreadable"


def test_a_server_that_was_killed_right_after_its_promotion_is_on_two_timelines() -> None:
    promoted = parse_control_data(PRINTED.replace("timeline:   0", "timeline:   3"))
    assert (promoted.timeline, promoted.timelines) == (2, {2, 3})
    assert parse_control_data(PRINTED).timelines == {2}
