"""A full and an incremental become one data directory, with the tablespaces where they belong."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgwarden.backups.record import BackupRecord
from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.restores import combine as combining
from pgwarden.restores.combine import combine
from pgwarden.restores.harmless import link_tablespaces, make_harmless
from pgwarden.restores.paths import ChainInput, RestorePaths
from pgwarden.restores.verify import verify_backup
from tests.support.backups import backup_task, envelope, take_backup
from tests.support.postgres import (
    HOST,
    SUPERUSER,
    SUPERUSER_PASSWORD,
    PostgresServer,
    bin_dir,
    free_port,
    give_to_server_user,
    new_folder,
    owned_folder,
    postgres_server,
)
from tests.support.stored_backup import claim


@dataclass
class Chain:
    """Tars as the server sent them, not unpacked."""

    major: int
    tars: list[Path]
    record: BackupRecord
    tablespace: Path


def take_tars(server: PostgresServer, folder: Path, *options: str) -> Path:
    """What the server sends, as tars, with the manifest beside them."""
    owned_folder(folder)
    server.tool(
        "pg_basebackup",
        f"--pgdata={folder}",
        "--format=tar",
        "--checkpoint=fast",
        "--no-sync",
        *options,
        environment={**server.environment(), "PGHOST": HOST, "PGUSER": SUPERUSER, "PGPASSWORD": SUPERUSER_PASSWORD},
    )
    return folder


@pytest.fixture(scope="module")
def chain(major: int) -> Iterator[Chain]:
    folder = new_folder()
    with postgres_server(major, settings={"summarize_wal": "on"}) as server:
        tablespace = server.create_tablespace("fast")
        server.execute(
            "CREATE TABLE events AS SELECT n AS id, md5(n::text) AS what FROM generate_series(1, 20000) AS n",
            "CREATE TABLE on_fast TABLESPACE fast AS SELECT * FROM events",
        )
        full = take_tars(server, folder / "full")
        server.execute("UPDATE on_fast SET what = 'changed' WHERE id = 7", "DELETE FROM events WHERE id > 19990")
        incremental = take_tars(server, folder / "incr", f"--incremental={full / 'backup_manifest'}")
        _, record = take_backup(server.address(), claim(owned_folder(folder / "store")))
        server.stop()
        yield Chain(major, [full, incremental], record, tablespace)
    shutil.rmtree(folder)


@pytest.fixture
def paths(volume: Path) -> RestorePaths:
    found = RestorePaths(volume / "pgdata", owned_folder(volume.parent / "scratch"), "uid")
    for folder in (found.work, found.data, found.wal, found.original):
        folder.mkdir(parents=True, exist_ok=True)
    return found


@pytest.fixture
def context(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> AgentContext:
    """The agent's frame, in an image with the tools of that major."""
    monkeypatch.setenv("PATH", f"{bin_dir(chain.major)}:/usr/bin:/bin")
    task = backup_task(DatabaseAddress(host=HOST), claim(Path("/nowhere")))
    return AgentContext(envelope(task), output=io.StringIO())


def unpack(tars: Path, place: ChainInput, wal: Path | None) -> None:
    """As the fetch does: WAL aside, tablespaces beside."""
    place.data.mkdir(parents=True)
    shutil.copy(tars / "backup_manifest", place.manifest)
    for tar in tars.glob("*.tar"):
        folder = place.data if not tar.stem.isdigit() else place.tablespace(int(tar.stem))
        if tar.stem == "pg_wal":
            folder = wal or place.folder / "wal"
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(tar) as archive:
            archive.extractall(folder, filter="fully_trusted")


def combined(chain: Chain, paths: RestorePaths, context: AgentContext) -> None:
    for number, tars in enumerate(chain.tars):
        place = paths.chain_input(number)
        unpack(tars, place, paths.wal if number else None)
        link_tablespaces(place, chain.record)
        verify_backup(place, paths.wal if number else None, chain.major, context)
    combine(paths, [chain.record, chain.record], chain.major, context)
    link_tablespaces(paths, chain.record)
    verify_backup(paths, paths.wal, chain.major, context)


@pytest.mark.parametrize("mode", ["quickest", "--copy"])
def test_a_chain_becomes_the_database_at_its_last_backup(
    chain: Chain, paths: RestorePaths, context: AgentContext, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode != "quickest":
        monkeypatch.setattr(combining, "quickest_mode", lambda *_: mode)
    before = sorted((str(path), path.stat().st_mtime_ns) for path in chain.tablespace.rglob("*"))
    combined(chain, paths, context)
    assert not paths.inputs.exists()
    make_harmless(paths)
    oid = chain.record.tablespaces[0].oid
    assert (paths.data / "pg_tblspc" / str(oid)).readlink() == paths.tablespace(oid)
    assert str(paths.tablespace(oid)) in (paths.data / "tablespace_map").read_text()
    assert [path for path in paths.tablespace(oid).rglob("*") if path.is_file()], "the tablespace has contents"
    start_and_ask(chain, paths)
    assert sorted((str(path), path.stat().st_mtime_ns) for path in chain.tablespace.rglob("*")) == before


def start_and_ask(chain: Chain, paths: RestorePaths) -> None:
    """Recovers the combined directory with its own WAL and looks at what it holds."""
    for file in paths.wal.iterdir():
        shutil.copy(file, paths.data / "pg_wal" / file.name)
    server = PostgresServer(chain.major, new_folder(), free_port())
    owned_folder(server.folder / "pg")
    owned_folder(server.socket_folder)
    paths.data.rename(server.data)
    (server.data / "recovery.signal").unlink()
    (server.data / "postgresql.conf").touch()
    (server.data / "pg_hba.conf").write_text(f"host all all {HOST}/32 trust\n")
    (server.data / "pg_ident.conf").touch()
    server.configure({})
    for path in (server.data, paths.tablespaces.parent):
        give_to_server_user(path)
    server.data.chmod(0o700)
    try:
        server.start()
        assert server.query("SELECT what FROM on_fast WHERE id = 7") == "changed"
        assert server.query("SELECT count(*) FROM on_fast") == 20000
        assert server.query("SELECT count(*) FROM events") == 19990
    finally:
        server.destroy()


def test_a_chain_that_misses_its_full_says_so(chain: Chain, paths: RestorePaths, context: AgentContext) -> None:
    place = paths.chain_input(0)
    unpack(chain.tars[1], place, paths.wal)
    link_tablespaces(place, chain.record)
    with pytest.raises(TaskError) as raised:
        combine(paths, [chain.record], chain.major, context)
    assert raised.value.reason == "CombineFailed"
    assert chain.record.backup_id in raised.value.message


def test_a_changed_file_of_any_input_is_found(chain: Chain, paths: RestorePaths, context: AgentContext) -> None:
    place = paths.chain_input(0)
    unpack(chain.tars[0], place, None)
    link_tablespaces(place, chain.record)
    victim = next(path for path in sorted((place.data / "base").rglob("*")) if path.is_file() and path.stat().st_size)
    with victim.open("r+b") as file:
        file.write(b"other")
    with pytest.raises(TaskError) as raised:
        verify_backup(place, None, chain.major, context)
    assert raised.value.reason == "VerificationFailed"
