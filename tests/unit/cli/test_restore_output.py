"""What `pgwarden restore` prints of requests and of what can be recovered, for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from pgwarden.catalogue.contract import HoleReport, MissingReport, StretchReport, TimelineLine, TimesReport, WayLine
from pgwarden.cli.backup_source import Answer
from pgwarden.cli.restore import parse_time
from pgwarden.cli.restore_cluster import content
from pgwarden.cli.restore_output import show_list, show_points, show_request
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.task import Outcome, Result
from tests.support.objects import NOW, attempt, condition, parts_request, restore_request

RUNNING = {
    "attempts": [attempt()],
    "step": "Fetch",
    "steps": [
        {"name": "Resolve", "state": "Done", "startTime": "2026-11-23T11:59:00Z"}
        | {"completionTime": "2026-11-23T11:59:02Z", "message": "the end of the backup"},
        {"name": "Fetch", "state": "Running", "startTime": "2026-11-23T11:59:02Z"},
    ],
    "checks": [{"name": "a\u001b[31m", "passed": False, "answer": "0"}],
    "conditions": [condition("Ready", "False", "Restoring", message="Job x restores the backup")],
}


def test_requests_are_listed_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show_list([restore_request(status=RUNNING, requestedBy="jane")], as_json=False, now=NOW)
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[0] == "NAME"
    assert row.split() == [
        "rescue", "backup", "nightly", "new", "instance", "rescued", "Restoring", "Fetch", "-", "jane", "1h0m",
    ]  # fmt: skip
    show_list([], as_json=False, now=NOW)
    assert capsys.readouterr().out == "no restores\n"
    show_list([restore_request()], as_json=True, now=NOW)
    assert json.loads(capsys.readouterr().out)[0]["metadata"]["name"] == "rescue"


def test_one_request_is_shown_with_its_steps_and_without_what_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_request(restore_request(status=RUNNING), as_json=False)
    out = capsys.readouterr().out
    assert "Job x restores the backup" in out
    assert "a?[31m: FAILED: 0" in out
    assert "\x1b" not in out
    resolve, fetch = out.splitlines()[-2:]
    assert resolve.split()[:4] == ["Resolve", "Done", "2026-11-23T11:59:00Z", "2s"]
    assert fetch.split() == ["Fetch", "Running", "2026-11-23T11:59:02Z", "-"]


def test_what_was_loaded_is_shown_with_what_puts_it_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    part = {"database": "shop", "newName": "shop\u001b then", "tables": 1, "rows": 520, "sizeBytes": 8_000_000}
    part |= {"counts": [{"table": "billing.invoices", "rows": 520}], "swap": "-- alone\nALTER DATABASE ..."}
    show_request(parts_request(status={"loaded": [part]}), as_json=False)
    out = capsys.readouterr().out
    assert "shop? then, out of shop: 520 rows in 1 tables" in out
    assert "520 in billing.invoices" in out and 'DatabaseCluster live, as "shop_then"' in out
    assert out.splitlines()[-3:] == [
        "To put shop? then in the place of what it was taken out of:",
        "-- alone",
        "ALTER DATABASE ...",
    ]


def points(*lines: TimelineLine, way: WayLine | None = None) -> Answer:
    return Answer(Result(outcome=Outcome.SUCCEEDED, reason="Summarized"), timelines=list(lines), way=way)


FIRST = datetime(2026, 11, 23, 10, 0, 0, 400_000, tzinfo=UTC)
LINE = TimelineLine(
    archive="0001",
    timeline=2,
    newest=True,
    branches_from=1,
    branched_at="0/9000000",
    stretches=[
        StretchReport(
            start_lsn="0/9000000",
            end_lsn="0/A000000",
            times=[TimesReport(first=FIRST, last=FIRST + timedelta(hours=1))],
            fulls=1,
            incrementals=2,
        ),
        StretchReport(start_lsn="0/C000120", end_lsn="0/C000120"),
    ],
    gaps=[
        HoleReport(
            start_lsn="0/A000000",
            end_lsn="0/C000120",
            missing=[MissingReport(start_lsn="0/A000000", end_lsn="0/B000000", first_segment="A", last_segment="A")],
            ended_by="late",
        )
    ],
)


def test_times_are_shown_as_they_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    show_points(points(LINE), as_json=False)
    heading, first, second, branch, gap = capsys.readouterr().out.splitlines()
    assert heading.split() == ["TIMELINE", "FROM", "TO", "WAL", "FROM", "WAL", "TO", "BACKUPS"]
    assert first.split("  ")[1] == "2026-11-23T10:00:01Z", "a second later than the first moment, and not earlier"
    assert "2026-11-23T11:00:00Z" in first
    assert first.endswith("1 full, 2 incremental")
    assert second.split()[2:4] == ["-", "-"]
    assert branch == "timeline 2 branches off timeline 1 at 0/9000000"
    assert gap == "gap on timeline 2 from 0/A000000 to 0/C000120: WAL is missing in A; backup late leads on"


def test_a_span_without_a_whole_second_is_shown_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    brief = StretchReport(
        start_lsn="0/1", end_lsn="0/2", times=[TimesReport(first=FIRST, last=FIRST + timedelta(milliseconds=1))]
    )
    show_points(points(LINE.model_copy(update={"stretches": [brief], "gaps": []})), as_json=False)
    row = capsys.readouterr().out.splitlines()[1]
    assert row.split()[2:4] == ["2026-11-23T10:00:00.401000Z"] * 2


def test_archives_are_told_apart_where_there_are_several(capsys: pytest.CaptureFixture[str]) -> None:
    way = WayLine(time=FIRST, reachable=False, reason="WALGap", message="WAL is missing")
    show_points(points(LINE, LINE.model_copy(update={"archive": "0002"}), way=way), as_json=False)
    out = capsys.readouterr().out.splitlines()
    assert [line for line in out if line.startswith("archive")] == ["archive 0001:", "archive 0002:"]
    assert out[-1] == "2026-11-23T10:00:00Z cannot be recovered (WALGap): WAL is missing"


def test_a_moment_needs_its_zone() -> None:
    assert parse_time("2026-11-23T12:42:00+01:00") == datetime(2026, 11, 23, 11, 42, tzinfo=UTC)
    for text in ("2026-11-23T11:42:00", "soon"):
        with pytest.raises(TaskError) as raised:
            parse_time(text)
        assert raised.value.reason == "NotATime"


def test_a_config_map_of_somebody_elses_is_no_report() -> None:
    metadata = {"name": "rescue-report", "namespace": "shop"}
    with pytest.raises(TaskError) as raised:
        content({"metadata": metadata, "data": {"report.md": "x"}})
    assert raised.value.reason == "ReportNotThere"
    labels = {"app.kubernetes.io/component": "restore-report"}
    assert content({"metadata": {**metadata, "labels": labels}, "data": {"report.md": "x"}}) == "x"
