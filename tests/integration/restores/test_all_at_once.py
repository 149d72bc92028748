"""An encrypted backup of a server with a bit of everything comes back whole, on a volume that is opened to a group."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from pgwarden.jobs.files import StoreLocation
from pgwarden.restores.in_place_contract import Action
from tests.support.postgres import RESTORE_TOKEN, PostgresServer, new_folder, owned_folder, postgres_server
from tests.support.restore_pod import RestorePod
from tests.support.stored_backup import claim, store_backup

from .conftest import CONTENTS, fill

TABLES = 1000
MAKE_TABLES = f"""
    DO $$ BEGIN
        FOR number IN 1..{TABLES} LOOP
            EXECUTE format('CREATE TABLE wide.t%s (id int PRIMARY KEY, what text)', number);
            EXECUTE format('INSERT INTO wide.t%s VALUES (%s, md5(%L))', number, number, number);
        END LOOP;
    END $$
"""
UNION = """
    SELECT string_agg(format('SELECT * FROM wide.%I', relname), ' UNION ALL ' ORDER BY relname)
    FROM pg_class WHERE relnamespace = 'wide'::regnamespace AND relkind = 'r'
"""
WIDE = "SELECT count(*) || ' ' || md5(string_agg(t::text, ',' ORDER BY id)) FROM ({}) AS t"
UIDS = ("7c1d1a5e-0000-4000-8000-0000000000e1", "7c1d1a5e-0000-4000-8000-0000000000e2")


@dataclass(frozen=True)
class Original:
    """A server that is stopped, and its backup."""

    major: int
    store: StoreLocation
    location: str
    answers: list[object]
    tablespace: Path
    """Still there, where it was, and the restore may write to it."""


@pytest.fixture(scope="module")
def original(major: int) -> Iterator[Original]:
    folder, key = new_folder(), pyrage.x25519.Identity.generate()
    identity = folder / "identity"
    identity.write_text(str(key))
    identity.chmod(0o644)
    store = claim(owned_folder(folder / "store"), recipients=[str(key.to_public())], identity_file=identity)
    with postgres_server(major) as server:
        tablespace = fill(server)
        server.execute("CREATE SCHEMA wide", MAKE_TABLES)
        answers = everything(server)
        location = store_backup(server, store)
        server.stop()
        yield Original(major, store, location, answers, tablespace)
    shutil.rmtree(folder)


def everything(server: PostgresServer) -> list[object]:
    """What the tables, the large object and the 1,000 tables hold."""
    return [server.query(question) for question in (CONTENTS, WIDE.format(server.query(UNION)))]


def open_to_group(volume: Path) -> None:
    """What the kubelet does to every file of a claim for a pod with an fsGroup, where the root is not like that yet."""
    for path in [volume, *volume.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o2070 if path.is_dir() else 0o060))


def test_everything_comes_back_and_in_place_as_well(original: Original, volume: Path) -> None:
    before = sorted((str(path), path.stat().st_mtime_ns) for path in original.tablespace.rglob("*"))
    with ExitStack() as pods:

        def run(uid: str, replaces: str = "") -> RestorePod:
            """Both containers, each after the kubelet has mounted the volume."""
            pod = RestorePod(
                original.major, volume, original.store, original.location, request_uid=uid, replaces=replaces
            )
            pods.callback(pod.destroy)
            open_to_group(volume)
            assert pod.restore().outcome == "Succeeded"
            open_to_group(volume)
            server, recovered = pod.start_server(), pod.recover()
            assert (recovered.reason, server.wait()) == ("Recovered", 0), recovered
            return pod

        new = run(UIDS[0])
        with new.instance() as server:
            assert everything(server) == original.answers
            assert server.query("SELECT count(*) FROM scratch_pad") == 0, "unlogged tables are empty after recovery"
            server.execute("DROP TABLE on_fast", "DROP TABLE wide.t1")
            token = str(server.query(RESTORE_TOKEN))
        in_place = run(UIDS[1], token)
        assert in_place.act(Action.HAND_OVER).outcome == "Succeeded"
        assert in_place.paths.pgdata.stat().st_mode & 0o777 == 0o700
        with in_place.instance() as server:
            assert everything(server) == original.answers
            server.execute("INSERT INTO on_fast VALUES (-1, 'written by the copy')", "CHECKPOINT")
    after = sorted((str(path), path.stat().st_mtime_ns) for path in original.tablespace.rglob("*"))
    assert after == before, "the original's tablespace is neither linked nor touched"
