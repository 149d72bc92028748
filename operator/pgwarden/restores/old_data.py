"""The data directory that a restore in place replaces: kept where it is until the last step, and beside it afterwards.

While the work goes on the old directory is *guarded*: its pg_control has another name, without which no PostgreSQL
starts, and the directory is neither missing nor empty, so that no initdb and no entrypoint makes a new one. One rename
puts it back. What has happened is read from the names alone, so that every step can be repeated after a crash:

    <pgdata>/global/pg_control.pgwarden-<key>   guarded
    <pgdata>.restore-<key>/data                 the restored directory; for an instant the old one, guarded
    <pgdata>.before-<key>                       the old directory, whole, once the restored one is in its place
"""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path

from pgwarden.jobs.errors import TaskError
from pgwarden.restores.durable import sync_path, write_durably
from pgwarden.restores.exchange import exchange
from pgwarden.restores.paths import GUARD_MARK, InPlacePaths

CONTROL_FILE = "global/pg_control"
LOCK_FILE = "postmaster.pid"
"""A server that shut down has taken it away; one that was killed has not, and neither has one that runs."""
NOTICE = "RESTORE-IN-PROGRESS.pgwarden"
NOTICE_TEXT = """\
pgwarden restores into this data directory (RestoreRequest with the UID {uid}).

PostgreSQL must not start on it meanwhile, so its file global/pg_control is called
    {guarded}
and has its own name again as soon as the restore ends, well or badly. To put that right by hand, when there is no
pgwarden any more to do it and no pod of the restore runs:
    mv {guarded} {control} && rm {notice}
"""


class OldState(StrEnum):
    """Where the old directory is."""

    IN_USE = "InUse"
    """In its place, and PostgreSQL may start on it."""
    GUARDED = "Guarded"
    """In its place, and PostgreSQL cannot start on it."""
    REPLACED = "Replaced"
    """The restored directory is in its place, though not all names may be tidied up yet."""


class OldData:
    """The old directory of one request."""

    def __init__(self, paths: InPlacePaths) -> None:
        self.paths = paths

    def state(self) -> OldState:
        """Raises TaskError with reason DataDirectoryMissing, GuardOfAnotherRequest."""
        pgdata = self.paths.pgdata
        if self.guarded(pgdata).exists():
            return OldState.GUARDED
        if self.paths.before.exists() or self.guarded(self.paths.data).exists():
            return OldState.REPLACED
        others = sorted((pgdata / "global").glob(f"pg_control{GUARD_MARK}*"))
        if others:
            raise TaskError(
                "GuardOfAnotherRequest",
                f"another RestoreRequest restores into {pgdata}, or was deleted on the way: {others[0]} is its guard",
                remedy=f"{pgdata / NOTICE} says whose it is and how to put the directory back.",
            )
        if not (pgdata / CONTROL_FILE).exists():
            raise TaskError(
                "DataDirectoryMissing",
                f"there is no data directory in {pgdata}: it has no {CONTROL_FILE}",
                remedy="Look at workloadRef.dataDirectory of the DatabaseCluster; or restore into a new instance.",
            )
        return OldState.IN_USE

    def guard(self) -> None:
        """Keeps PostgreSQL from starting on the old directory, and has one that runs on it end itself.

        A server looks at its lock file once a minute and shuts down at once when it is not there (PostgreSQL,
        src/backend/postmaster/postmaster.c, RecheckDataDirLockFile). A server that has not written one by now fails to
        read its pg_control. Raises as `state`.
        """
        state = self.state()
        if state is OldState.REPLACED:
            return
        pgdata = self.paths.pgdata
        if state is OldState.IN_USE:
            guarded, control = self.guarded(pgdata), pgdata / CONTROL_FILE
            names = {"guarded": guarded, "control": control, "notice": pgdata / NOTICE}
            seen = {name: self.paths.seen_by_server(path) for name, path in names.items()}
            text = NOTICE_TEXT.format(uid=self.paths.request_uid, **seen)
            write_durably(pgdata / NOTICE, text.encode())
            control.rename(guarded)
            sync_path(control.parent)
        lock = pgdata / LOCK_FILE
        if lock.exists():
            lock.rename(self.lock_aside(pgdata))
            sync_path(pgdata)

    def put_back(self) -> None:
        """Lets PostgreSQL start on the old directory again. Raises as `state`, and TaskError AlreadyHandedOver."""
        state = self.state()
        if state is OldState.REPLACED:
            raise TaskError(
                "AlreadyHandedOver",
                f"the restored data are in {self.paths.pgdata} already; the old ones are in {self.paths.before}",
                remedy="To go back to them, make a new RestoreRequest, or rename the two directories by hand.",
                report={"pgdata": str(self.paths.pgdata), "oldData": str(self.paths.before)},
            )
        if state is OldState.GUARDED:
            self.open(self.paths.pgdata)
        (self.paths.pgdata / NOTICE).unlink(missing_ok=True)

    def replace(self) -> None:
        """Puts the restored directory in the old one's place, and the old one beside it. Raises as `state`."""
        if self.state() is OldState.GUARDED:
            exchange(self.paths.data, self.paths.pgdata)
        if self.guarded(self.paths.data).exists():
            self.paths.data.rename(self.paths.before)
            sync_path(self.paths.work)
            sync_path(self.paths.before.parent)
        if self.guarded(self.paths.before).exists():
            self.open(self.paths.before)
        (self.paths.before / NOTICE).unlink(missing_ok=True)

    def discard(self) -> list[str]:
        """Deletes the old directory and its tablespaces on this volume; names those that lie elsewhere and are left."""
        tablespaces = self.tablespaces()
        ours = [folder for folder in tablespaces if folder.is_relative_to(self.paths.all_tablespaces)]
        # Their links go with the directory, so they come first.
        for folder in (*ours, self.paths.before):
            if folder.exists():
                shutil.rmtree(folder)
        for parent in {folder.parent for folder in ours}:
            if parent != self.paths.all_tablespaces and parent.exists() and not any(parent.iterdir()):
                parent.rmdir()
        sync_path(self.paths.before.parent)
        return [str(folder) for folder in tablespaces if folder not in ours]

    def tablespaces(self) -> list[Path]:
        """Where the tablespaces of the old directory lie, once it is beside."""
        links = sorted((self.paths.before / "pg_tblspc").glob("*"))
        return [link.readlink() for link in links if link.is_symlink()]

    def guarded(self, folder: Path) -> Path:
        """The name that pg_control has in a guarded directory."""
        return folder / f"{CONTROL_FILE}{self.paths.guard_suffix}"

    def lock_aside(self, folder: Path) -> Path:
        """The name that the lock file has in a guarded directory."""
        return folder / f"{LOCK_FILE}{self.paths.guard_suffix}"

    def open(self, folder: Path) -> None:
        """Gives pg_control, and the lock file where there was one, their own names again."""
        aside = self.lock_aside(folder)
        if aside.exists():
            aside.rename(folder / LOCK_FILE)
        guarded = self.guarded(folder)
        guarded.rename(folder / CONTROL_FILE)
        sync_path(guarded.parent)
