"""The data volume of a server whose data are replaced: the old ones are kept, guarded, and describe what comes."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import ClassVar, Protocol

from pydantic import ValidationError

from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.task import ReportModel
from pgwarden.restores.durable import sync_path, write_durably
from pgwarden.restores.exchange import refuse_unless_exchangeable
from pgwarden.restores.harmless import CONFIGURATION_FILES
from pgwarden.restores.old_data import OldData, OldState
from pgwarden.restores.paths import InPlacePaths, RestorePaths
from pgwarden.restores.verify import read_control_data
from pgwarden.restores.volume import RestoreVolume

NEW_INSTANCE = "Nothing was changed. Restore into a new instance instead (spec.target.newInstance)."
CARRIED_SUFFIXES = (".conf", ".crt", ".key", ".pem", ".crl")
"""Of files right in the data directory that are an administrator's and not PostgreSQL's."""
CARRIED_FOLDERS = ("conf.d",)
GROUP_MAY_READ = 0o750
SERVER_NOTICES_SECONDS = 75.0
"""It looks once a minute, and gives its children 5 s to end."""
POLL_SECONDS = 0.5


class VolumeTask(Protocol):
    """What a task says of the volume."""

    request_uid: str
    pgdata: str
    shared: str
    replaces: str


class Replaced(ReportModel):
    """replaced.json: what the old data directory was, as it was found."""

    token: str
    """System identifier and timeline."""
    group: int
    mode: int

    @property
    def timeline(self) -> int:
        return int(self.token.rpartition("-")[2])


class InPlaceVolume(RestoreVolume):
    """The volume of a restore in place."""

    RENAMES_IN: ClassVar[bool] = False
    paths: InPlacePaths

    def __init__(self, paths: InPlacePaths) -> None:
        super().__init__(paths)
        self.old = OldData(paths)

    def keep_old(self, token: str, major: int, context: AgentContext) -> str:
        """Guards the old data directory, after a look whether it is the one that is meant; returns what was done.
        Whoever calls it has to wait for a server that was killed, or may still run: `wait_for_server_to_end`.

        Raises TaskError: ReplacesAnother, DataDirectoryUnfit, VolumeCannotExchange, and what `OldData.state` raises.
        """
        if self.old.state() is OldState.IN_USE:
            refuse_unless_exchangeable(self.paths.work)
            replaced = self.look_at_old(token, major, context)
            write_durably(self.paths.replaced, replaced.model_dump_json(by_alias=True).encode())
        self.old.guard()
        return f"{self.paths.pgdata} stays as it is, and no server can start on it"

    def look_at_old(self, token: str, major: int, context: AgentContext) -> Replaced:
        """What the old directory is. Raises as `look_at_old`."""
        return look_at_old(self.paths.pgdata, token, major, context)

    @property
    def server_was_killed(self) -> bool:
        """Whether the old server left its lock file, as one that runs has it, too."""
        return self.old.lock_aside(self.paths.pgdata).exists()

    def take_over_configuration(self) -> str:
        """Gives the restored directory the configuration that the cluster had last, and the old one's group and mode;
        returns what was taken over."""
        taken = []
        for entry in sorted(os.scandir(self.paths.pgdata), key=lambda entry: entry.name):
            if is_carried(entry.name):
                replace_with_copy(Path(entry.path), self.paths.data / entry.name)
                taken.append(entry.name)
        replaced = self.replaced()
        if self.paths.data.stat().st_gid != replaced.group:
            os.chown(self.paths.data, -1, replaced.group)
        self.paths.data.chmod(replaced.mode)
        sync_path(self.paths.data)
        return f"as the cluster had them last: {', '.join(taken) or 'no files'}"

    def replaced(self) -> Replaced:
        """What the old directory was. Raises TaskError with reason MarkerUnreadable."""
        try:
            return Replaced.model_validate_json(self.paths.replaced.read_bytes())
        except (OSError, ValidationError) as error:
            raise TaskError(
                "MarkerUnreadable",
                f"{self.paths.replaced}, which says what the old data directory was, cannot be read: {error}",
                remedy="Cancel the RestoreRequest (spec.cancel), which puts the old data back, and make a new one.",
            ) from error

    def taken_timelines(self, after: int) -> dict[str, bytes]:
        """History files, by name, for every timeline after `after` up to that of the old data.

        A promoting server takes the first number of which it finds no history file (PostgreSQL,
        src/backend/access/transam/timeline.c, findNewestTimeLine), and looks no further than whether there is one.
        What is restored must get a number that the old data never had: it tells the one from the other.
        """
        taken = range(after + 1, self.replaced().timeline + 1)
        return {f"{number:08X}.history": b"# taken by the data that are replaced\n" for number in taken}

    def tidy(self, *, tablespaces: bool = False) -> None:
        """Deletes what the work needed and nothing needs any more; with `tablespaces` also those that were restored."""
        paths = self.paths
        for folder in (paths.data, paths.wal, paths.inputs, *([paths.tablespaces] if tablespaces else [])):
            if folder.exists():
                shutil.rmtree(folder)

    def _refuse_full_pgdata(self) -> None:
        """It is full, and has to be."""


def wait_for_server_to_end(context: AgentContext) -> None:
    """Waits as long as a server may take to notice that its lock file is gone, and to end. Most often there is none,
    and it was killed before it could take that file away; from here the one cannot be told from the other."""
    context.log("a server was killed, or may still run: waiting until it has noticed that its lock file is gone")
    until = time.monotonic() + SERVER_NOTICES_SECONDS
    while time.monotonic() < until:
        context.check_stop()
        context.progress("KeepOld", detail="waiting for a server that was killed, or may still run")
        time.sleep(POLL_SECONDS)


def volume_of(task: VolumeTask) -> RestoreVolume:
    """The volume that a task works on."""
    pgdata, shared = Path(task.pgdata), Path(task.shared)
    if task.replaces:
        return InPlaceVolume(InPlacePaths(pgdata, shared, task.request_uid))
    return RestoreVolume(RestorePaths(pgdata, shared, task.request_uid))


def look_at_old(pgdata: Path, token: str, major: int, context: AgentContext) -> Replaced:
    """What the data directory is. Raises TaskError: ReplacesAnother, DataDirectoryUnfit, ControlDataUnreadable."""
    replaced = look_at_directory(pgdata, major, context)
    if replaced.token != token:
        raise TaskError(
            "ReplacesAnother",
            f"{pgdata} holds {replaced.token} (system identifier and timeline), and the request replaces {token}: it"
            " was carried out before, or the cluster has been promoted or made anew since",
            remedy="Nothing was changed. To replace what is there now, copy restoreToken from the status of the"
            " DatabaseCluster into a new RestoreRequest.",
        )
    return replaced


def look_at_directory(pgdata: Path, major: int, context: AgentContext) -> Replaced:
    """What a data directory is that something can take the place of. Raises TaskError: DataDirectoryUnfit,
    ControlDataUnreadable."""
    if pgdata.is_symlink() or pgdata.is_mount():
        what = "a symbolic link" if pgdata.is_symlink() else "the volume itself"
        raise unfit(f"{pgdata} is {what}: nothing can be put in its place in one step")
    status = pgdata.stat()
    if status.st_uid != os.geteuid():
        raise unfit(f"{pgdata} belongs to the user {status.st_uid}, and the restore runs as {os.geteuid()}")
    if status.st_gid not in {os.getegid(), *os.getgroups()}:
        raise unfit(f"{pgdata} belongs to the group {status.st_gid}, of which the restore is no member")
    version = (pgdata / "PG_VERSION").read_text().strip()
    if version != str(major):
        raise unfit(f"{pgdata} is of PostgreSQL {version}, and the backup of {major}")
    control = read_control_data(pgdata, major, context)
    mode = GROUP_MAY_READ if status.st_mode & 0o777 == GROUP_MAY_READ else 0o700
    return Replaced(token=f"{control.system_identifier}-{control.timeline}", group=status.st_gid, mode=mode)


def unfit(message: str) -> TaskError:
    return TaskError("DataDirectoryUnfit", message, remedy=NEW_INSTANCE)


def is_carried(name: str) -> bool:
    """Whether a file or folder right in the data directory is configuration. Pure."""
    return name in (*CONFIGURATION_FILES, *CARRIED_FOLDERS) or name.endswith(CARRIED_SUFFIXES)


def replace_with_copy(source: Path, target: Path) -> None:
    """Puts a copy of a file, link or folder in the place of what is there, on disk when this returns."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True)
        for path in (*target.rglob("*"), target):
            if not path.is_symlink():
                sync_path(path)
        return
    new = target.with_name(f"{target.name}.new")
    new.unlink(missing_ok=True)
    shutil.copy2(source, new, follow_symlinks=False)
    if not new.is_symlink():
        sync_path(new)
    new.replace(target)
