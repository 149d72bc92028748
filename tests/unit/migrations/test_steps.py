"""What to run, decided from files, history and the version wanted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.jobs.errors import TaskError
from pgwarden.migrations.files import Migration, Script
from pgwarden.migrations.overview import State, overview
from pgwarden.migrations.steps import Record, RecordedError, RecordState, after, applied_records, decide, parse_version

pytestmark = pytest.mark.unit

VERSIONS = st.sets(st.integers(1, 12), min_size=1, max_size=8)


def migration(version: int, *, down: bool = True, content: str = "up") -> Migration:
    script = Script(f"{version}_m.down.sql", "m", b"down") if down else None
    return Migration(version, Script(f"{version}_m.up.sql", "m", content.encode()), script)


def record(version: int, *, state: RecordState = RecordState.APPLIED, down: str | None = None) -> Record:
    return Record(version, "m", state, migration(version).checksum, down_script=down)


def run(files: list[Migration], records: list[Record], target: int | None, *, allow_down: bool = False) -> list[str]:
    steps = decide(files, records, target=target, allow_down=allow_down)
    assert all(step.direction is steps.direction for step in steps.steps)
    return [f"{step.direction} {step.migration.version}" for step in steps.steps]


def refusal(
    files: list[Migration], records: list[Record], target: int | None, *, allow_down: bool = False
) -> TaskError:
    with pytest.raises(TaskError) as caught:
        run(files, records, target, allow_down=allow_down)
    assert caught.value.remedy
    return caught.value


FILES = [migration(1), migration(2), migration(5)]


def test_everything_pending_is_applied_in_order_and_gaps_in_the_numbering_are_fine() -> None:
    assert run(FILES, [], None) == ["up 1", "up 2", "up 5"]
    assert run(FILES, [record(1)], None) == ["up 2", "up 5"]
    assert run(FILES, [record(1), record(2), record(5)], None) == []


def test_a_target_limits_the_way_up() -> None:
    assert run(FILES, [], 2) == ["up 1", "up 2"]
    assert run(FILES, [record(1), record(2)], 2) == []


def test_a_failed_or_reverted_migration_is_pending() -> None:
    records = [record(1), record(2, state=RecordState.FAILED), record(5, state=RecordState.REVERTED)]
    assert run(FILES, records, None) == ["up 2", "up 5"]


def test_no_target_never_goes_down_even_when_the_database_is_ahead_of_the_files() -> None:
    assert run([migration(1)], [record(1), record(2)], None) == []


def test_a_file_below_the_current_version_that_was_never_applied_is_refused_and_named() -> None:
    error = refusal(FILES, [record(1), record(5)], None)
    assert error.reason == "OutOfOrder"
    assert "2_m.up.sql" in error.message and "below version 5" in error.message


def test_an_edited_file_is_refused_and_named_also_when_nothing_is_pending() -> None:
    error = refusal([migration(1), migration(2, content="other")], [record(1), record(2)], None)
    assert error.reason == "ChecksumMismatch"
    assert "2_m.up.sql" in error.message and "1_m.up.sql" not in error.message


@pytest.mark.parametrize("target", [3, 99])
def test_an_unknown_version_is_refused(target: int) -> None:
    assert refusal(FILES, [record(1)], target).reason == "UnknownVersion"


@pytest.mark.parametrize("text", ["", "1.5", "-1", "x", "٣", "1 ", "9" * 1001])
def test_a_version_is_digits(text: str) -> None:
    with pytest.raises(TaskError) as caught:
        parse_version(text)
    assert caught.value.reason == "UnknownVersion"


def test_versions_are_numbers_whatever_zeros_stand_before_them() -> None:
    assert (parse_version(None), parse_version("0007"), parse_version("0")) == (None, 7, 0)


def test_down_needs_consent() -> None:
    error = refusal(FILES, [record(1), record(2), record(5)], 1)
    assert error.reason == "DownNotAllowed"
    assert "2 migrations" in error.message


def test_down_reverts_the_latest_first() -> None:
    assert run(FILES, [record(1), record(2), record(5)], 1, allow_down=True) == ["down 5", "down 2"]
    assert run(FILES, [record(1), record(2)], 0, allow_down=True) == ["down 2", "down 1"]


def test_down_uses_the_history_when_the_file_is_gone_and_the_file_when_both_exist() -> None:
    records = [record(1, down="kept 1"), record(2, down="kept 2")]
    steps = decide([migration(1)], records, target=0, allow_down=True).steps
    assert [step.script.text for step in steps if step.script] == ["kept 2", "down"]
    assert steps[0].script and "history" in steps[0].script.file


def test_an_irreversible_migration_on_the_way_down_is_named_before_anything_runs() -> None:
    error = refusal([migration(1, down=False), migration(2)], [record(1), record(2)], 0, allow_down=True)
    assert error.reason == "IrreversibleMigration"
    assert "1_m.up.sql" in error.message and "2_m" not in error.message


def test_a_lone_down_file_is_a_version_without_anything_to_run_on_the_way_up() -> None:
    lone = Migration(3, None, Script("3_m.down.sql", "m", b"down"))
    [step] = decide([lone], [], target=None, allow_down=False).steps
    assert step.script is None


@given(VERSIONS, st.data())
def test_from_any_state_any_target_is_reached_and_a_second_run_finds_nothing_to_do(
    versions: set[int], data: st.DataObject
) -> None:
    files = [migration(version) for version in sorted(versions)]
    start = data.draw(st.sampled_from([0, *sorted(versions)]))
    target = data.draw(st.sampled_from([0, *sorted(versions)]))
    records: list[Record] = [record(version) for version in sorted(versions) if version <= start]
    for step in decide(files, records, target=target, allow_down=True).steps:
        records = after(records, step)
    assert set(applied_records(records)) == {version for version in versions if version <= target}
    assert decide(files, records, target=target, allow_down=True).steps == []


def test_the_overview_tells_every_state_apart() -> None:
    error = RecordedError("up", "42601", "syntax error", 3, "selec")
    records = [
        record(1),
        record(2),
        Record(4, "m", RecordState.FAILED, "", error=error),
        record(5, state=RecordState.REVERTED),
        record(7),
        record(9),
        Record(10, "m", RecordState.FAILED, "", error=error),
        record(11, state=RecordState.REVERTED),
    ]
    files = [migration(1), migration(2, content="edited"), migration(3), migration(4), migration(5), migration(9)]
    files += [migration(10), migration(11), migration(12, down=False)]
    lines = {line.version: line for line in overview(files, records)}
    assert {version: line.state for version, line in lines.items()} == {
        1: State.APPLIED,
        2: State.APPLIED,
        3: State.OUT_OF_ORDER,
        4: State.OUT_OF_ORDER,
        5: State.OUT_OF_ORDER,
        7: State.FILE_MISSING,
        9: State.APPLIED,
        10: State.FAILED,
        11: State.REVERTED,
        12: State.PENDING,
    }
    assert (lines[1].checksum_matches, lines[2].checksum_matches, lines[7].checksum_matches) == (True, False, None)
    assert "line 3: syntax error (SQLSTATE 42601)" in lines[10].error
    assert (lines[11].reversible, lines[12].reversible) == (True, False)
