"""docs/restore-by-hand.md, its commands run as they stand there, on an archive that an archiver has written."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgwarden.jobs.files import StoreLocation
from tests.support.age import AgeKey, new_age_key
from tests.support.archiver import FOLDER, SMALL_SEGMENTS, ArchiverProcess, archived, archiver_settings
from tests.support.cluster import ROOT
from tests.support.postgres import (
    SUPERUSER,
    PostgresServer,
    as_server_user,
    bin_dir,
    give_to_server_user,
    new_folder,
    owned_folder,
    postgres_server,
)
from tests.support.stored_backup import claim, store_backup

PAGE = (ROOT / "docs/restore-by-hand.md").read_text()
VALUES, *COMMANDS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
NOW = "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


@dataclass
class Archive:
    """What a server that is gone has left, and a moment of it."""

    major: int
    folder: Path
    """With the archive and the file of an identity, readable by the server's user."""
    moment: str
    """After the second event, before the third."""

    @property
    def wal(self) -> Path:
        return self.folder / "store" / FOLDER / "wal" / "00000001"


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "encrypted"])
def left(major: int, request: pytest.FixtureRequest) -> Iterator[Archive]:
    """A backup between the first and the second of three events, and WAL that ends in the middle of a segment."""
    folder = new_folder()
    owned_folder(folder / "keys")
    key: AgeKey | None = new_age_key(folder / "keys") if request.param else None
    recipients, identity = ([key.recipient], key.identity) if key is not None else ([], None)
    store = claim(owned_folder(folder / "store"), recipients=recipients, identity_file=identity)
    with postgres_server(major, initdb=SMALL_SEGMENTS, settings={"max_prepared_transactions": "7"}) as server:
        archiver = ArchiverProcess(archiver_settings(store, server.address()), folder)
        try:
            moment = live(server, store)
            archiver.wait_until_it_holds(server)
            assert archiver.end() == 0
        finally:
            archiver.kill()
        assert not archived(store)[-1].whole
    give_to_server_user(folder)
    yield Archive(major, folder, moment)
    shutil.rmtree(folder)


def live(server: PostgresServer, store: StoreLocation) -> str:
    """Three events with some segments of WAL between them; the moment after the second."""
    filler = "INSERT INTO filler SELECT repeat(md5(n::text), 30) FROM generate_series(1, 4000) AS n"
    server.execute(
        "CREATE TABLE events (number int)", "CREATE TABLE filler (what text)", "INSERT INTO events VALUES (1)"
    )
    store_backup(server, store)
    server.execute(filler, "INSERT INTO events VALUES (2)")
    moment = str(server.query(f"SELECT {NOW}"))
    server.execute("INSERT INTO events VALUES (3)", filler, "INSERT INTO events VALUES (4)")
    return moment


@dataclass
class ByHand:
    """A person at a shell, with PostgreSQL's programs on PATH."""

    major: int
    work: Path

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        path = f"{bin_dir(self.major)}:{os.environ['PATH']}"
        return subprocess.run(
            as_server_user(["bash", "-e", "-c", script]),
            cwd="/",
            env={**os.environ, "PATH": path, "PGUSER": SUPERUSER},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def follow(self, left: Archive, target: str) -> subprocess.CompletedProcess[str]:
        """Does as the page says, with values of one's own."""
        values = {
            "archive": str(left.folder / "store" / FOLDER),
            "identity": str(left.folder / "keys" / "identity"),
            "target": target,
            "work": str(self.work),
        }
        assert re.findall(r"^(\w+)=", VALUES, re.MULTILINE) == list(values)
        own = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
        return self.shell(own + "\n".join(COMMANDS))

    @property
    def log(self) -> str:
        return (self.work / "server.log").read_text()


@pytest.fixture
def hand(major: int) -> Iterator[ByHand]:
    folder = new_folder()
    owned_folder(folder / "home")
    it = ByHand(major, folder / "home" / "work")
    yield it
    it.shell(f"pg_ctl --pgdata {it.work}/pgdata --mode immediate stop || true")
    shutil.rmtree(folder)


@pytest.mark.parametrize(("whole", "events"), [(False, "1 2"), (True, "1 2 3 4")], ids=["a time", "all there is"])
def test_the_commands_of_the_page_bring_a_moment_back(left: Archive, hand: ByHand, whole: bool, events: str) -> None:
    done = hand.follow(left, "" if whole else left.moment)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{hand.log}"
    assert re.search(r"\| f$", done.stdout, re.MULTILINE)
    query = "SELECT string_agg(number::text, ' ' ORDER BY number) FROM events"
    asked = hand.shell(f'psql --host {hand.work} --dbname postgres --tuples-only --no-align --command "{query}"')
    assert asked.stdout.strip() == events, asked.stderr


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_a_segment_that_is_missing_or_broken_opens_no_database(left: Archive, hand: ByHand, harm: str) -> None:
    """Without a target PostgreSQL would take the first segment that it does not get for the end."""
    whole = sorted(path for path in left.wal.iterdir() if ".tail." not in path.name)
    victim = whole[-2]
    content = victim.read_bytes()
    try:
        victim.unlink() if harm == "gone" else os.truncate(victim, len(content) // 2)
        done = hand.follow(left, "")
    finally:
        victim.write_bytes(content)
        give_to_server_user(victim)
    assert done.returncode != 0
    assert f"fetch-wal: {victim.name[:24]}: " in hand.log
    assert "database system is ready to accept connections" not in hand.log
    assert not list((hand.work / "pgdata" / "pg_wal").glob("00000002*"))
