"""The data of a server are replaced where they lie: its old ones are kept, guarded, and put back when it goes wrong."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import Result
from pgwarden.restores.contract import SQLCheck
from pgwarden.restores.in_place_contract import Action
from pgwarden.restores.manifest import sha256_of
from pgwarden.restores.old_data import NOTICE
from tests.support.postgres import (
    RESTORE_TOKEN,
    PostgresServer,
    as_server_user,
    bin_dir,
    give_to_server_user,
    new_folder,
    owned_folder,
    wait_until,
)
from tests.support.restore_pod import RestorePod
from tests.support.stored_backup import store_backup

from .conftest import CONTENTS, StoredBackup

FIRST = "7c1d1a5e-0000-4000-8000-0000000000f1"
IN_PLACE = "7c1d1a5e-0000-4000-8000-0000000000a1"
OWN_SETTING = "work_mem = '7MB'\n"


@dataclass
class OldServer:
    """A volume with the data directory of a server that is stopped, and what it holds."""

    volume: Path
    token: str
    """System identifier and timeline."""


@dataclass
class Replacement:
    """The pods of one restore in place."""

    stored: StoredBackup
    old: OldServer
    stack: ExitStack

    def pod(self, uid: str = IN_PLACE, token: str = "", **options: object) -> RestorePod:
        pod = RestorePod(
            self.stored.major,
            self.old.volume,
            self.stored.store,
            self.stored.location,
            request_uid=uid,
            replaces=token or self.old.token,
            **options,  # type: ignore[arg-type]
        )
        self.stack.callback(pod.destroy)
        return pod


@pytest.fixture(scope="session")
def first_server(stored: StoredBackup) -> Iterator[OldServer]:
    """What an earlier restore made, with rows of its own since: the server whose data are to be replaced."""
    folder = new_folder()
    volume = owned_folder(folder / "data")
    pod = RestorePod(stored.major, volume, stored.store, stored.location, request_uid=FIRST)
    pod.run()
    with pod.instance() as server:
        server.execute("CREATE TABLE since (id int)", "INSERT INTO since VALUES (1), (2)", "DROP TABLE on_fast")
        found = server.query(RESTORE_TOKEN)
    pod.destroy()
    with (volume / "pgdata/postgresql.conf").open("a") as file:
        file.write(OWN_SETTING)
    yield OldServer(volume, str(found))
    shutil.rmtree(folder)


@pytest.fixture
def replacement(stored: StoredBackup, first_server: OldServer) -> Iterator[Replacement]:
    """A copy of that server's volume of the test's own."""
    folder = new_folder()
    volume = folder / "data"
    shutil.copytree(first_server.volume, volume, symlinks=True)
    for link in (volume / "pgdata/pg_tblspc").iterdir():
        place = volume / link.readlink().relative_to(first_server.volume)
        link.unlink()
        link.symlink_to(place)
    give_to_server_user(volume)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        yield Replacement(stored, OldServer(volume, first_server.token), stack)


def succeeded(result: Result) -> Result:
    assert result.outcome == "Succeeded", result
    return result


def recovered(pod: RestorePod) -> None:
    """All of the long Job: the restored directory lies beside the old one, recovered and checked."""
    _, done, code = pod.run()
    succeeded(done)
    assert code == 0


def starts_with_its_rows(pod: RestorePod) -> None:
    """The old server works, as if nothing had been."""
    with pod.instance() as server:
        assert server.query("SELECT count(*) FROM since") == 2
        assert server.query("SELECT count(*) FROM events") == 60000


def refused_by(pod: RestorePod, *command: str) -> str:
    """What one of PostgreSQL's programs says when it will not work on the data directory."""
    program = as_server_user([bin_dir(pod.major) / command[0], *command[1:], "-D", pod.paths.pgdata])
    done = subprocess.run(program, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode != 0
    return done.stderr


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def bytes_of(folder: Path) -> dict[str, str]:
    """What every file, link and folder is, to the byte and the moment."""
    return {str(path.relative_to(folder)): to_the_byte(path) for path in folder.rglob("*")}


def to_the_byte(path: Path) -> str:
    content = path.readlink() if path.is_symlink() else sha256_of(path) if path.is_file() else "a folder"
    return f"{path.lstat().st_mode:o} {path.lstat().st_mtime_ns} {content}"


def test_the_restored_data_take_the_place_of_the_old_ones(replacement: Replacement, stored: StoredBackup) -> None:
    pod = replacement.pod()
    assert succeeded(pod.act(Action.PREFLIGHT)).report["inStore"] is True
    recovered(pod)
    assert pod.state == "Checked"
    report = succeeded(pod.act(Action.HAND_OVER)).report
    with pod.instance() as server:
        assert server.query(CONTENTS) == stored.contents
        assert server.query("SELECT to_regclass('since')") is None
        assert server.query("SHOW work_mem") == "7MB"
        # The backup is of timeline 1, and 2 is the one that was replaced.
        assert server.query("SELECT timeline_id FROM pg_control_checkpoint()") == 3
    assert report["oldData"] == str(pod.in_place.before)
    assert (pod.in_place.before / "global/pg_control").exists()
    assert pod.paths.pgdata.stat().st_mode & 0o777 == 0o700


def test_no_server_starts_and_no_initdb_runs_while_the_work_goes_on(replacement: Replacement) -> None:
    pod = replacement.pod()
    before = tree(pod.paths.pgdata)
    succeeded(pod.restore())
    for _ in ("laid out", "recovered"):
        assert "could not" in refused_by(pod, "postgres")
        assert "not empty" in refused_by(pod, "initdb")
        changed = {name.replace(pod.in_place.guard_suffix, "") for name in tree(pod.paths.pgdata)} - {NOTICE}
        assert changed == before.keys()
        server = pod.start_server()
        succeeded(pod.recover())
        assert server.wait() == 0


def test_the_old_data_are_as_they_were_but_for_one_name_until_they_are_replaced(replacement: Replacement) -> None:
    pod = replacement.pod()
    before = tree(pod.paths.pgdata)
    recovered(pod)
    succeeded(pod.act(Action.HAND_OVER))
    assert tree(pod.in_place.before) == before


def nothing_yet(pod: RestorePod) -> None:
    """Not even the long Job began."""


def killed_while_it_fetched(pod: RestorePod) -> None:
    agent = pod.start_restore()
    pod.wait_for_step(agent, "Fetch")
    agent.kill()


def laid_out(pod: RestorePod) -> None:
    succeeded(pod.restore())


def killed_in_recovery(pod: RestorePod) -> None:
    succeeded(pod.restore())
    server, agent = pod.start_server(), pod.start_recover()
    pod.wait_for_step(agent, "Check")
    agent.kill()
    server.kill()


@pytest.mark.parametrize("so_far", [nothing_yet, killed_while_it_fetched, laid_out, killed_in_recovery, recovered])
def test_whatever_was_done_before_the_hand_over_is_put_back(
    replacement: Replacement, so_far: Callable[[RestorePod], None]
) -> None:
    pod = replacement.pod()
    before = tree(pod.paths.pgdata)
    so_far(pod)
    for _ in range(2):
        succeeded(pod.act(Action.PUT_BACK))
    assert tree(pod.paths.pgdata) == before
    assert sorted(path.name for path in pod.in_place.work.iterdir() if path.name not in KEPT_AFTER_PUT_BACK) == []
    assert not pod.in_place.tablespaces.exists()
    again = pod.restore()
    assert (again.outcome, again.reason) == ("Failed", "PutBack")
    starts_with_its_rows(pod)


KEPT_AFTER_PUT_BACK = {"marker.json", "lock", "replaced.json", "backup.json", "backup_manifest", "original"}


def test_a_server_that_was_started_just_before_the_guard_ends_itself(replacement: Replacement) -> None:
    pod = replacement.pod()
    with pod.instance() as server:
        server.execute("INSERT INTO since VALUES (3)")
        succeeded(pod.restore())
        wait_until(lambda: not server.running, "the server went on without its lock file")
        assert "lock file is invalid" in server.log
    succeeded(pod.act(Action.PUT_BACK))
    with pod.instance() as server:
        assert server.query("SELECT count(*) FROM since") == 3


def test_a_failed_check_replaces_nothing(replacement: Replacement) -> None:
    pod = replacement.pod(checks=[SQLCheck(name="more", database="postgres", query="SELECT 1", expect="2")])
    _, done, _ = pod.run()
    assert (done.outcome, done.reason) == ("Failed", "CheckFailed")
    refused = pod.act(Action.HAND_OVER)
    assert (refused.outcome, refused.reason) == ("Failed", "NothingLaidOut")
    succeeded(pod.act(Action.PUT_BACK))
    starts_with_its_rows(pod)


def test_a_restore_that_was_handed_over_is_only_told_again(replacement: Replacement) -> None:
    pod = replacement.pod()
    recovered(pod)
    succeeded(pod.act(Action.HAND_OVER))
    before = tree(replacement.old.volume)
    again = replacement.pod()
    assert succeeded(again.act(Action.HAND_OVER)).report["repeated"] is True
    assert succeeded(again.restore()).report["repeated"] is True
    refused = again.act(Action.PUT_BACK)
    assert (refused.outcome, refused.reason) == ("Failed", "AlreadyHandedOver")
    assert tree(replacement.old.volume) == before


def test_the_same_manifest_applied_again_changes_not_a_byte(replacement: Replacement) -> None:
    pod = replacement.pod()
    recovered(pod)
    succeeded(pod.act(Action.HAND_OVER))
    with pod.instance() as server:
        server.execute("CREATE TABLE after_the_restore (id int)")
    before = bytes_of(pod.paths.pgdata), bytes_of(pod.in_place.before)
    reborn = replacement.pod(uid=IN_PLACE.replace("a1", "a2"))
    for result in (reborn.act(Action.PREFLIGHT), reborn.restore()):
        assert (result.outcome, result.reason) == ("Failed", "ReplacesAnother")
    assert (bytes_of(pod.paths.pgdata), bytes_of(pod.in_place.before)) == before


def test_data_that_are_not_the_ones_that_were_meant_are_left(replacement: Replacement) -> None:
    identifier, _, timeline = replacement.old.token.partition("-")
    before = tree(replacement.old.volume / "pgdata")
    for number, token in enumerate((f"{identifier}-{int(timeline) + 1}", f"1{identifier[1:]}-{timeline}", "x-1")):
        pod = replacement.pod(uid=f"7c1d1a5e-0000-4000-8000-0000000000b{number}", token=token)
        for result in (pod.act(Action.PREFLIGHT), pod.restore()):
            assert (result.outcome, result.reason) == ("Failed", "ReplacesAnother"), result
            assert "copy restoreToken" in result.remedy
    assert tree(replacement.old.volume / "pgdata") == before
    starts_with_its_rows(replacement.pod())


def test_a_second_request_keeps_off_while_the_first_one_works(replacement: Replacement) -> None:
    succeeded(replacement.pod().restore())
    second = replacement.pod(uid=IN_PLACE.replace("a1", "a3")).restore()
    assert (second.outcome, second.reason) == ("Failed", "GuardOfAnotherRequest")


def test_old_data_are_deleted_when_that_is_asked_for_and_not_before(replacement: Replacement) -> None:
    pod = replacement.pod()
    recovered(pod)
    early = pod.act(Action.DISCARD_OLD)
    assert (early.outcome, early.reason) == ("Failed", "NotHandedOver")
    succeeded(pod.act(Action.HAND_OVER))
    with pod.instance() as server:
        succeeded(pod.act(Action.DISCARD_OLD))
        assert server.query(CONTENTS) == replacement.stored.contents
    assert not pod.in_place.before.exists()
    assert [path.name for path in pod.in_place.all_tablespaces.iterdir()] == [pod.in_place.key]


def test_a_preflight_finds_a_missing_object_before_anything_stops(
    replacement: Replacement, altered: StoredBackup
) -> None:
    replacement.stored = altered
    altered.object("base.tar.zst.00000").unlink()
    before = tree(replacement.old.volume)
    result = replacement.pod().act(Action.PREFLIGHT)
    assert (result.outcome, result.reason) == ("Failed", "ObjectMissing")
    assert tree(replacement.old.volume) == before


def test_a_request_that_was_brought_back_without_its_status_is_refused(
    replacement: Replacement, altered: StoredBackup
) -> None:
    replacement.stored = altered
    before = bytes_of(replacement.old.volume)
    pod = replacement.pod(uid=IN_PLACE.replace("a1", "a5"))
    succeeded(pod.act(Action.PREFLIGHT))
    again = pod.act(Action.PREFLIGHT)
    assert (again.outcome, again.reason) == ("Failed", "RequestReplayed")
    assert bytes_of(replacement.old.volume) == before
    succeeded(pod.act(Action.PREFLIGHT, attempt=2))


def test_a_subscriber_in_its_own_place_goes_on_and_people_are_told(
    major: int, new_postgres: Callable[..., PostgresServer], own_store: StoreLocation, volume: Path
) -> None:
    publisher, subscriber = new_postgres(major), new_postgres(major)
    publisher.execute("CREATE TABLE orders (id int PRIMARY KEY)", "CREATE PUBLICATION all_orders FOR TABLE orders")
    subscriber.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    with subscriber.connect() as connection:
        connection.execute(
            f"CREATE SUBSCRIPTION from_shop CONNECTION 'host=127.0.0.1 port={publisher.port} user=postgres "
            "password=''superuser, for tests only''' PUBLICATION all_orders"
        )
    location = store_backup(subscriber, own_store)
    subscriber.stop()
    with ExitStack() as stack:
        first = RestorePod(major, volume, own_store, location, request_uid=FIRST)
        stack.callback(first.destroy)
        recovered(first)
        with first.instance() as server:
            token = str(server.query(RESTORE_TOKEN))
        pod = RestorePod(major, volume, own_store, location, request_uid=IN_PLACE, replaces=token)
        stack.callback(pod.destroy)
        recovered(pod)
        assert "apply worker" not in pod.server_log
        assert any("subscription goes on" in each and "from_shop" in each for each in pod.report["findings"])
        succeeded(pod.act(Action.HAND_OVER))
        with pod.instance() as server:
            assert server.query("SELECT subenabled AND subslotname = 'from_shop' FROM pg_subscription") is True


def test_a_preflight_without_the_claim_says_what_it_could_not_see(replacement: Replacement) -> None:
    pod = replacement.pod(uid=IN_PLACE.replace("a1", "a4"))
    report = succeeded(pod.act(Action.PREFLIGHT, volume_mounted=False)).report
    assert "freeBytes" not in report
    assert "once the server stopped" in report["notes"][0]
