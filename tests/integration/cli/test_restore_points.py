"""`pgwarden restore points` on archives that it opens itself: what it says can be recovered, a restore comes to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pgwarden.catalogue.contract import TimelineLine
from pgwarden.jobs.files import StoreLocation
from tests.support.archive import ARCHIVE
from tests.support.postgres import new_folder, owned_folder, postgres_server
from tests.support.stored_backup import claim, store_backup
from tests.support.wal_archive import WALArchive


@dataclass
class Lived:
    """A folder with a promotion behind it: timeline 1 went on, timeline 2 is the newest."""

    folder: str
    location: StoreLocation
    before: datetime
    """A moment on timeline 1."""
    last: datetime
    """The last noted one of timeline 2."""


def pgwarden(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgwarden", "restore", *arguments],
        env={**os.environ, "PYTHONPATH": str(Path("operator").resolve())},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def lived() -> Iterator[Lived]:
    folder = new_folder()
    location = claim(owned_folder(folder / "store"))
    assert location.claim is not None
    with postgres_server(17, settings={"wal_keep_size": "1GB"}) as server:
        archive = WALArchive(server, location)
        server.execute("CREATE TABLE events (number int)")
        store_backup(server, location)
        server.execute("INSERT INTO events VALUES (1)")
        before = archive.note_moment()
        standby = server.create_standby({"wal_keep_size": "1GB"})
        try:
            promoted = WALArchive(standby, location)
            standby.promote()
            server.execute("INSERT INTO events VALUES (10)")
            archive.note_moment()
            promoted.store_segments()
            standby.execute("INSERT INTO events SELECT generate_series(1, 300000)")
            promoted.note_moment()
            store_backup(standby, location)
            standby.execute("INSERT INTO events VALUES (21)")
            last = promoted.note_moment()
        finally:
            standby.destroy()
    yield Lived(location.claim.path, location, before, last)
    shutil.rmtree(folder)


def points(folder: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = pgwarden("points", "--store", folder, "--json", *arguments)
    assert done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_each_timeline_is_told_with_its_branch_and_its_ends(lived: Lived) -> None:
    old, new = (TimelineLine.model_validate(each) for each in points(lived.folder)["timelines"])
    assert (old.timeline, old.newest, old.branches_from) == (1, False, None)
    assert (new.timeline, new.newest, new.branches_from) == (2, True, 1)
    assert [(part.fulls, part.incrementals) for part in (*old.stretches, *new.stretches)] == [(1, 0), (1, 0)]
    assert new.stretches[0].start_lsn == new.branched_at
    assert new.stretches[0].times[-1].last == lived.last
    assert not old.gaps and not new.gaps


def test_people_see_a_table_whose_times_they_can_ask_for(lived: Lived) -> None:
    done = pgwarden("points", "--store", lived.folder)
    assert done.returncode == 0, done.stderr
    heading, first, second, branch = done.stdout.splitlines()
    assert heading.split("  ")[0] == "TIMELINE"
    assert branch.startswith("timeline 2 branches off timeline 1 at ")
    for row, timeline in ((first, "1"), (second, "2")):
        begin, end = (word for word in row.split() if word.endswith("Z"))
        for moment in (begin, end):
            told = points(lived.folder, "--at", moment, "--timeline", timeline)["way"]
            assert told["reachable"], (row, told)


def test_a_moment_is_told_with_its_backup_and_its_wal(lived: Lived) -> None:
    told = points(lived.folder, "--at", lived.last.isoformat())["way"]
    assert (told["reachable"], told["timeline"], len(told["chain"])) == (True, 2, 1)
    assert told["backupBytes"] > 0
    said = pgwarden("points", "--store", lived.folder, "--at", lived.before.isoformat()).stdout
    assert "can be recovered on timeline 2: from backup" in said
    assert " of WAL up to " in said


def test_a_moment_beyond_the_archive_ends_with_1_and_names_the_last_one(lived: Lived) -> None:
    told = points(lived.folder, "--at", (lived.last + timedelta(hours=1)).isoformat(), code=1)["way"]
    assert (told["reachable"], told["reason"]) == (False, "TargetBeyondArchive")
    assert f"{lived.last:%Y-%m-%dT%H:%M:%SZ}" in told["message"]


def test_a_segment_that_was_lost_is_a_gap_with_its_name(lived: Lived, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(lived.folder, copy)
    wal = copy / ARCHIVE / "wal" / "00000002"
    lost = sorted(path for path in wal.iterdir() if path.name.endswith(".zst") and ".tail." not in path.name)[1]
    lost.unlink()
    _, new = (TimelineLine.model_validate(each) for each in points(str(copy))["timelines"])
    (gap,) = new.gaps
    name = lost.name.removesuffix(".zst")
    assert [(each.first_segment, each.last_segment) for each in gap.missing] == [(name, name)]
    assert gap.ended_by
    assert (
        f"WAL is missing in {name}; backup {gap.ended_by} leads on" in pgwarden("points", "--store", str(copy)).stdout
    )


@pytest.mark.parametrize("text", ["yesterday", "2026-11-23T11:42:00", "11:42"])
def test_a_moment_without_a_zone_is_refused_with_an_example(lived: Lived, text: str) -> None:
    done = pgwarden("points", "--store", lived.folder, "--at", text)
    assert done.returncode == 1
    assert "NotATime" in done.stderr and "2026-11-23T11:42:00Z" in done.stderr


def test_an_empty_archive_says_that_nothing_can_be_recovered(tmp_path: Path) -> None:
    folder = tmp_path / "shop" / "one" / "0001"
    folder.mkdir(parents=True)
    (folder / "archive.json").write_text("{}")
    assert pgwarden("points", "--store", str(tmp_path)).stdout.startswith("nothing can be recovered")


def test_without_a_cluster_a_request_leads_nowhere_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pgwarden", "restore", "report", "rescue"],
        env={**os.environ, "PYTHONPATH": str(Path("operator").resolve()), "KUBECONFIG": str(tmp_path / "nothing")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "NoCluster" in done.stderr) == (1, True)
