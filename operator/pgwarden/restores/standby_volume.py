"""The volumes of the other members of a server that is restored in place: each keeps its old data as the primary's
does, and is made anew from what was restored (reseed.py).

In the pods of a restore the primary's claim is where the servers have theirs, and every other one in a folder of its
own, so that all lie side by side. Links between them do not hold: a path in a standby's data directory is one of its
own server's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.contract import MemberVolume
from pgwarden.restores.in_place_volume import (
    InPlaceVolume,
    Replaced,
    look_at_directory,
    unfit,
    wait_for_server_to_end,
)
from pgwarden.restores.old_data import CONTROL_FILE
from pgwarden.restores.paths import InPlacePaths
from pgwarden.restores.space import REMEDY_IN_PLACE, Room, check_room, free_room
from pgwarden.restores.verify import read_control_data
from pgwarden.restores.volume import Marker, State

STANDBY_SIGNAL = "standby.signal"
STANDBY_STATES = frozenset({"in archive recovery", "shut down in recovery"})
"""As pg_controldata tells them (PostgreSQL, src/bin/pg_controldata/pg_controldata.c, dbState)."""


class StandbysTask(Protocol):
    """What a task says of the other members."""

    request_uid: str
    pgdata: str
    shared: str
    standbys: list[MemberVolume]


class StandbyVolume(InPlaceVolume):
    """The volume of a member that follows the primary."""

    def __init__(self, member: MemberVolume, paths: InPlacePaths) -> None:
        super().__init__(paths)
        self.member = member

    def keep_old(self, token: str, major: int, context: AgentContext) -> str:
        """As of the primary. Raises likewise, and TaskError as `look_at_standby`."""
        if self.marker() is None:
            self.write(Marker(request_uid=self.paths.request_uid, location="", state=State.UNPACKING))
        return super().keep_old(token, major, context)

    def look_at_old(self, token: str, major: int, context: AgentContext) -> Replaced:
        return look_at_standby(self.member, self.paths.pgdata, token, major, context)

    @property
    def seeded(self) -> bool:
        """Whether a whole copy of what was restored lies here, in its place or beside it."""
        marker = self.marker()
        return marker is not None and marker.state in (State.CHECKED, State.DONE)

    @contextmanager
    def named(self) -> Iterator[None]:
        """What fails inside the block says on which claim."""
        with on_claim(self.member.claim):
            yield


@contextmanager
def on_claim(claim: str) -> Iterator[None]:
    """What fails inside the block says on which claim."""
    try:
        yield
    except TaskError as error:
        raise TaskError(
            error.reason,
            f"claim {claim}: {error.message}",
            remedy=error.remedy,
            retryable=error.retryable,
            report=error.report,
        ) from error


def standbys_of(task: StandbysTask) -> list[StandbyVolume]:
    """The volumes of the other members; none where there is but one."""
    return [
        StandbyVolume(
            each,
            InPlacePaths(data_directory_on(each, task.pgdata), Path(task.shared), task.request_uid, Path(task.pgdata)),
        )
        for each in task.standbys
    ]


def data_directory_on(member: MemberVolume, pgdata: str) -> Path:
    """Where this pod has a member's data directory; `pgdata` is where the member's server has it."""
    return Path(member.path) / Path(pgdata).relative_to(member.server_path)


@contextmanager
def all_held(standbys: Sequence[StandbyVolume]) -> Iterator[None]:
    """Keeps every other attempt off all of the volumes. Raises as `RestoreVolume.held`."""
    with ExitStack() as stack:
        for each in standbys:
            with each.named():
                stack.enter_context(each.held())
        yield


def keep_all_old(
    primary: InPlaceVolume, standbys: Sequence[StandbyVolume], token: str, major: int, context: AgentContext
) -> str:
    """Guards the data directories of all members; returns what was done. Raises as `InPlaceVolume.keep_old`."""
    said = primary.keep_old(token, major, context)
    for each in standbys:
        with each.named():
            each.keep_old(token, major, context)
    if any(each.server_was_killed for each in (primary, *standbys)):
        wait_for_server_to_end(context)
    return f"{said}; so it is on {', '.join(each.member.claim for each in standbys)}" if standbys else said


def check_standbys_room(standbys: Sequence[StandbyVolume], backup_id: str, needed: Room) -> None:
    """Raises TaskError with reason VolumeTooSmall when a standby's claim has no room for a copy of what is restored."""
    for each in standbys:
        check_room(backup_id, needed, free_room(each.paths.work), REMEDY_IN_PLACE, f"claim {each.member.claim}")


def find_primary(members: Sequence[MemberVolume], pgdata: str, context: AgentContext) -> MemberVolume:
    """The member that is no standby, by what lies on the claims.

    Raises TaskError: DataDirectoryUnfit, PrimaryUnclear, ControlDataUnreadable.
    """
    for each in members:
        if not (data_directory_on(each, pgdata) / "PG_VERSION").exists():
            raise unfit(
                f"claim {each.claim} has no data directory {pgdata}: that member has never come up, or is broken."
                " Repair it, or take it out of the StatefulSet (spec.replicas)"
            )
    found = [each for each in members if not is_standby(data_directory_on(each, pgdata), context)]
    if len(found) == 1:
        return found[0]
    what = (
        f"{' and '.join(each.claim for each in found)} each hold a server that is no standby"
        if found
        else f"all members, {', '.join(each.claim for each in members)}, are standbys"
    )
    raise TaskError(
        "PrimaryUnclear",
        f"nothing tells which member is the primary: {what}",
        remedy="Nothing was changed. Have one primary with standbys that follow it, or scale the StatefulSet to that"
        " one member; or restore into a new instance (spec.target.newInstance).",
    )


def is_standby(pgdata: Path, context: AgentContext) -> bool:
    """Whether a data directory is that of a server that follows another one. A guarded one tells it by its signal file
    alone; what recovers for another reason is no primary, either."""
    if (pgdata / STANDBY_SIGNAL).exists():
        return True
    if not (pgdata / CONTROL_FILE).exists():
        return False
    major = int((pgdata / "PG_VERSION").read_text())
    return read_control_data(pgdata, major, context).state in STANDBY_STATES


def look_at_standby(member: MemberVolume, pgdata: Path, token: str, major: int, context: AgentContext) -> Replaced:
    """What the data directory of a standby is. Its timeline may be behind: it is made anew.

    Raises TaskError: ForeignMember, DataDirectoryUnfit, ControlDataUnreadable.
    """
    replaced = look_at_directory(pgdata, major, context)
    system, wanted = (each.rpartition("-")[0] for each in (replaced.token, token))
    if system != wanted:
        raise TaskError(
            "ForeignMember",
            f"its data are of the system {system}, and the request replaces those of {wanted}: this member does not"
            " follow the primary",
            remedy="Nothing was changed. Make it a standby of the primary, or take it out of the StatefulSet"
            " (spec.replicas).",
        )
    for link in sorted((pgdata / "pg_tblspc").glob("*")):
        if link.is_symlink() and not link.readlink().is_relative_to(member.server_path):
            raise unfit(
                f"its tablespace {link.name} lies in {link.readlink()}, outside the claim, where the old one would have"
                " to be overwritten"
            )
    return replaced
