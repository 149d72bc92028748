"""A primary and its standby are restored in place together: both are replaced and stream on, or both are put back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgwarden.restores.contract import MemberVolume
from pgwarden.restores.exchange import exchange
from pgwarden.restores.in_place_contract import Action
from pgwarden.restores.old_data import NOTICE, OldData
from pgwarden.restores.paths import InPlacePaths
from tests.support.postgres import (
    HOST,
    RESTORE_TOKEN,
    SUPERUSER,
    SUPERUSER_PASSWORD,
    PostgresServer,
    free_port,
    give_to_server_user,
    new_folder,
    owned_folder,
    wait_until,
)
from tests.support.restore_pod import RestorePod, accepts, server_on

from .conftest import CONTENTS, StoredBackup
from .test_in_place import killed_while_it_fetched, nothing_yet, succeeded

FIRST = "7c1d1a5e-0000-4000-8000-0000000000f2"
IN_PLACE = "7c1d1a5e-0000-4000-8000-0000000000c1"
SLOT = "standby_of_first"
OWN_SETTING = "work_mem = '9MB'\n"


@dataclass
class Members:
    """The volumes of a primary and of its standby, both shut down."""

    folder: Path
    """Of both volumes and of the standby's password file."""
    port: int
    """Where the standby looks for the primary."""
    token: str
    stored: StoredBackup

    @property
    def primary(self) -> Path:
        return self.folder / "primary"

    @property
    def standby(self) -> Path:
        return self.folder / "standby"

    @property
    def volumes(self) -> list[MemberVolume]:
        """Both claims as a preflight has them; the standby, which is the first here, has no say in what is what."""
        return [
            MemberVolume(claim=f"data-{each.name}", path=str(each), server_path=str(self.primary))
            for each in (self.standby, self.primary)
        ]

    def pod(self, stack: ExitStack, uid: str = IN_PLACE) -> RestorePod:
        pod = RestorePod(
            self.stored.major,
            self.primary,
            self.stored.store,
            self.stored.location,
            request_uid=uid,
            replaces=self.token,
            standbys=self.volumes[:1],
        )
        stack.callback(pod.destroy)
        return pod

    @contextmanager
    def running(self) -> Iterator[tuple[PostgresServer, PostgresServer]]:
        """Primary and standby at work, until they are shut down."""
        self.lead_links("standby", to="standby")
        with ExitStack() as stack:
            primary = stack.enter_context(server_on(self.stored.major, self.primary / "pgdata", self.port))
            wait_until(lambda: accepts(primary, SUPERUSER_PASSWORD), f"the primary did not start: {primary.log}")
            standby = stack.enter_context(server_on(self.stored.major, self.standby / "pgdata", free_port()))
            wait_until(lambda: accepts(standby, SUPERUSER_PASSWORD), f"the standby did not start: {standby.log}")
            wait_until(lambda: streams(standby), "the standby does not stream")
            yield primary, standby
            primary.stop()
            standby.stop()
        self.lead_links("standby", to="primary")

    def lead_links(self, member: str, to: str) -> None:
        """Has a member's tablespaces be found on another's volume. In a pod of its own a standby finds them where the
        primary does in its own; side by side they must not."""
        for link in (self.folder / member / "pgdata/pg_tblspc").iterdir():
            parts = link.readlink().parts
            below = parts[parts.index("pgdata.tablespaces") :]
            link.unlink()
            link.symlink_to(self.folder.joinpath(to, *below))


def streams(standby: PostgresServer) -> bool:
    return standby.query("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == 1


@pytest.fixture(scope="session")
def first_members(stored: StoredBackup) -> Iterator[Members]:
    """What an earlier restore made, with rows of its own since, and a standby of it with a setting of its own."""
    folder = new_folder()
    owned_folder(folder / "primary")
    standby = owned_folder(folder / "standby") / "pgdata"
    pod = RestorePod(stored.major, folder / "primary", stored.store, stored.location, request_uid=FIRST)
    pod.run()
    password_file = folder / "pgpass"
    password_file.write_text(f"*:*:*:{SUPERUSER}:{SUPERUSER_PASSWORD}\n")
    password_file.chmod(0o600)
    give_to_server_user(password_file)
    members = Members(folder, free_port(), "", stored)
    with server_on(stored.major, folder / "primary/pgdata", members.port) as server:
        wait_until(lambda: accepts(server, SUPERUSER_PASSWORD), server.log)
        server.execute("CREATE TABLE since (id int)", "INSERT INTO since VALUES (1), (2)")
        members.token = str(server.query(RESTORE_TOKEN))
        tablespaces = [link.readlink() for link in (folder / "primary/pgdata/pg_tblspc").iterdir()]
        server.tool(
            "pg_basebackup",
            f"--pgdata={standby}",
            f"--dbname=host={HOST} port={members.port} user={SUPERUSER} passfile={password_file}",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
            "--create-slot",
            f"--slot={SLOT}",
            *(
                f"--tablespace-mapping={each}={folder / 'standby' / each.relative_to(folder / 'primary')}"
                for each in tablespaces
            ),
        )
        server.stop()
    pod.destroy()
    with (standby / "postgresql.conf").open("a") as file:
        file.write(OWN_SETTING)
    with members.running() as (_, follower):
        assert follower.query("SELECT count(*) FROM since") == 2
    yield members
    shutil.rmtree(folder)


@pytest.fixture
def members(first_members: Members) -> Iterator[Members]:
    """A copy of them of the test's own."""
    copy = Members(new_folder(), first_members.port, first_members.token, first_members.stored)
    for each in ("primary", "standby"):
        shutil.copytree(first_members.folder / each, copy.folder / each, symlinks=True)
        copy.lead_links(each, to="primary")
        give_to_server_user(copy.folder / each)
    yield copy
    shutil.rmtree(copy.folder)


@pytest.fixture
def pod(members: Members) -> Iterator[RestorePod]:
    with ExitStack() as stack:
        yield members.pod(stack)


def recovered(pod: RestorePod) -> None:
    """All of the long Job: the restored directories lie beside the old ones."""
    _, done, code = pod.run()
    succeeded(done)
    assert code == 0


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def standby_paths(pod: RestorePod) -> InPlacePaths:
    return InPlacePaths(pod.volume.with_name("standby") / "pgdata", pod.shared, pod.request_uid)


def test_both_members_are_replaced_and_the_standby_follows_on_the_new_timeline(
    members: Members, pod: RestorePod
) -> None:
    before = [tree(each / "pgdata") for each in (members.primary, members.standby)]
    told = succeeded(pod.act(Action.PREFLIGHT, members=members.volumes)).report
    assert (told["primary"], told["inStore"]) == ("data-primary", True)
    recovered(pod)
    (step,) = [each for each in pod.report["steps"] if each["name"] == "Reseed"]
    assert "data-standby" in step["detail"]
    succeeded(pod.act(Action.HAND_OVER))
    olds = [pod.in_place.before, standby_paths(pod).before]
    assert [tree(each) for each in olds] == before
    with members.running() as (primary, standby):
        assert standby.query("SELECT pg_is_in_recovery()") is True
        primary.execute("CREATE TABLE afterwards (id int)", "INSERT INTO afterwards VALUES (7)")
        standby.wait_for_replay_of(primary)
        assert standby.query("SELECT id FROM afterwards") == 7
        assert standby.query("SELECT received_tli FROM pg_stat_wal_receiver") == 3
        for each in (primary, standby):
            assert each.query(CONTENTS) == members.stored.contents
            assert each.query("SELECT to_regclass('since')") is None
        assert standby.query("SHOW work_mem") == "9MB"
        assert primary.query("SHOW work_mem") != "9MB"
        assert primary.query("SELECT slot_name FROM pg_replication_slots WHERE active") == SLOT


def killed_while_it_seeded(pod: RestorePod) -> None:
    succeeded(pod.restore())
    pod.start_server()
    agent = pod.start_recover()
    pod.wait_for_step(agent, "Reseed")
    agent.kill()


@pytest.mark.parametrize("so_far", [nothing_yet, killed_while_it_fetched, killed_while_it_seeded, recovered])
def test_whatever_was_done_before_the_hand_over_is_put_back_on_both(
    members: Members, pod: RestorePod, so_far: Callable[[RestorePod], None]
) -> None:
    volumes = (members.primary, members.standby)
    before = [tree(each / "pgdata") for each in volumes]
    so_far(pod)
    for _ in range(2):
        succeeded(pod.act(Action.PUT_BACK))
    assert [tree(each / "pgdata") for each in volumes] == before
    for each in volumes:
        assert not list(each.glob("pgdata.restore-*/data"))
        assert not (each / "pgdata.tablespaces" / pod.in_place.key).exists()
    again = pod.restore()
    assert (again.outcome, again.reason) == ("Failed", "PutBack")
    with members.running() as (primary, standby):
        primary.execute("INSERT INTO since VALUES (3)")
        standby.wait_for_replay_of(primary)
        assert standby.query("SELECT count(*) FROM since") == 3


def test_neither_member_can_be_started_while_the_work_goes_on(members: Members, pod: RestorePod) -> None:
    succeeded(pod.restore())
    for volume in (members.primary, members.standby):
        # Paths are those of the server's own pod, also for a standby, whose claim lies elsewhere here.
        notice = (volume / "pgdata" / NOTICE).read_text()
        assert str(members.primary / "pgdata/global/pg_control") in notice
        with server_on(members.stored.major, volume / "pgdata", free_port()) as server:
            assert server.process is not None
            assert server.process.wait(60) != 0
            assert "pg_control" in server.log


def test_a_copy_that_was_cut_short_is_made_again(members: Members, pod: RestorePod) -> None:
    killed_while_it_seeded(pod)
    with ExitStack() as stack:
        again = members.pod(stack)
        recovered(again)
        succeeded(again.act(Action.HAND_OVER))
    with members.running() as (_, standby):
        assert standby.query(CONTENTS) == members.stored.contents


def the_primary_only(pod: RestorePod) -> None:
    OldData(pod.in_place).replace()


def the_primarys_name_only(pod: RestorePod) -> None:
    exchange(pod.in_place.data, pod.in_place.pgdata)


@pytest.mark.parametrize(
    ("killed_after", "then"), [(the_primarys_name_only, Action.PUT_BACK), (the_primary_only, Action.HAND_OVER)]
)
def test_a_hand_over_that_ended_between_two_members_can_only_be_finished(
    members: Members, pod: RestorePod, killed_after: Callable[[RestorePod], None], then: Action
) -> None:
    recovered(pod)
    killed_after(pod)
    result = pod.act(then)
    expected = ("Succeeded", "HandedOver") if then is Action.HAND_OVER else ("Failed", "AlreadyHandedOver")
    assert (result.outcome, result.reason) == expected
    assert (pod.in_place.before.exists(), standby_paths(pod).before.exists()) == (True, True)
    with members.running() as (primary, standby):
        assert primary.query("SELECT to_regclass('since')") is None
        assert standby.query(CONTENTS) == members.stored.contents


def test_a_hand_over_waits_for_the_last_copy(pod: RestorePod) -> None:
    standbys, pod.standbys = pod.standbys, ()
    recovered(pod)
    pod.standbys = standbys
    refused = pod.act(Action.HAND_OVER)
    assert (refused.outcome, refused.reason) == ("Failed", "NothingLaidOut")
    assert "claim data-standby" in refused.message


def without_a_signal(members: Members) -> None:
    shutil.rmtree(members.standby / "pgdata")
    shutil.copytree(members.primary / "pgdata", members.standby / "pgdata", symlinks=True)


def another_system(members: Members) -> None:
    shutil.rmtree(members.standby / "pgdata")
    other = PostgresServer.create(members.stored.major, start=False)
    shutil.copytree(other.data, members.standby / "pgdata")
    (members.standby / "pgdata/standby.signal").touch()
    other.destroy()


def an_empty_claim(members: Members) -> None:
    shutil.rmtree(members.standby / "pgdata")


def standbys_alone(members: Members) -> None:
    (members.primary / "pgdata/standby.signal").touch()


def a_tablespace_elsewhere(members: Members) -> None:
    link = next((members.standby / "pgdata/pg_tblspc").iterdir())
    link.unlink()
    link.symlink_to("/mnt/fast/16385")


@pytest.mark.parametrize(
    ("spoilt", "reason", "says"),
    [
        (without_a_signal, "PrimaryUnclear", "data-standby and data-primary each hold a server that is no standby"),
        (standbys_alone, "PrimaryUnclear", "are standbys"),
        (another_system, "ForeignMember", "claim data-standby: its data are of the system"),
        (an_empty_claim, "DataDirectoryUnfit", "claim data-standby has no data directory"),
        (a_tablespace_elsewhere, "DataDirectoryUnfit", "lies in /mnt/fast/16385, outside the claim"),
    ],
)
def test_members_that_do_not_belong_together_are_refused_before_anything_stops(
    members: Members, pod: RestorePod, spoilt: Callable[[Members], None], reason: str, says: str
) -> None:
    spoilt(members)
    for each in (members.primary, members.standby):
        give_to_server_user(each)
    before = tree(members.folder)
    refused = pod.act(Action.PREFLIGHT, members=members.volumes)
    assert (refused.outcome, refused.reason) == ("Failed", reason)
    assert says in refused.message
    assert tree(members.folder) == before


def test_the_primary_is_found_among_stopped_members_also_when_they_are_guarded(
    members: Members, pod: RestorePod
) -> None:
    for _ in range(2):
        found = succeeded(pod.act(Action.LOOK, members=members.volumes))
        assert found.report["primary"] == "data-primary"
        succeeded(pod.restore())


def test_old_data_are_deleted_on_each_claim_by_itself(pod: RestorePod) -> None:
    recovered(pod)
    succeeded(pod.act(Action.HAND_OVER))
    pod.standbys = ()
    succeeded(pod.act(Action.DISCARD_OLD))
    assert (pod.in_place.before.exists(), standby_paths(pod).before.exists()) == (False, True)
