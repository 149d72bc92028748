"""The data volume: whose restore it holds, how far that is, and that only one attempt works on it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from pydantic import ValidationError

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.task import ReportModel
from pgwarden.restores.contract import RecoverReport, Resolved, RestoreReport
from pgwarden.restores.durable import sync_path, write_durably
from pgwarden.restores.paths import RestorePaths
from pgwarden.restores.unpack import volume_full_is_told

NEW_CLAIM = "Name a new instance whose claim does not exist yet."


class State(StrEnum):
    """How far a restore is. Each state names what may lie on the volume if everything stops at this moment."""

    UNPACKING = "Unpacking"
    """An incomplete data directory: the next attempt deletes it and begins again."""
    LAID_OUT = "LaidOut"
    """A complete, verified data directory that no server has run on."""
    RECOVERING = "Recovering"
    """A server may have run on it: PostgreSQL goes on where it was."""
    CHECKED = "Checked"
    """Recovered, checked and shut down, with its final configuration: to be renamed in, if it isn't yet."""
    DONE = "Done"
    """Renamed in. Never touched again."""
    PUT_BACK = "PutBack"
    """In place: given up, and the old data are as they were. No attempt begins again."""


class Marker(ReportModel):
    """marker.json."""

    schema_version: int = 1
    request_uid: str
    """UID of the RestoreRequest."""
    location: str
    """The backup's folder inside its store."""
    state: State
    resolved: Resolved | None = None
    """Where the restore begins and which way it goes: found out once, so that every attempt takes the same one."""
    restored: RestoreReport | None = None
    """What operation `restore` answered; from LaidOut on."""
    open_until: datetime | None = None
    """Until when the copy may be looked at; None before it first was opened for that."""
    recovered: RecoverReport | None = None
    """What operation `recover` answered; from Checked on."""


class RestoreVolume:
    """The folders of one request's restore, held by one attempt."""

    RENAMES_IN: ClassVar[bool] = True
    """Whether the attempt that recovers also hands over."""

    def __init__(self, paths: RestorePaths) -> None:
        self.paths = paths

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps every other attempt away. Raises TaskError with reason AnotherAttemptRunning (retryable) or
        VolumeNotWritable."""
        try:
            self.paths.work.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(self.paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise TaskError(
                "VolumeNotWritable",
                f"the folder {self.paths.work} on the data volume cannot be written: {error.strerror}",
                remedy="The volume must be mounted read-write and belong to the pod's group: see fsGroup and "
                "spec.jobTemplate of the RestoreRequest.",
            ) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TaskError(
                    "AnotherAttemptRunning",
                    f"another process is working on the restore in {self.paths.work}",
                    remedy="Wait until the other pod of this restore has ended.",
                    retryable=True,
                ) from error
            yield
        finally:
            os.close(lock)

    def laid_out(self) -> tuple[Marker, Resolved]:
        """The marker of a verified backup that an earlier container has laid out, and where its restore begins.

        Raises TaskError: NothingLaidOut (retryable), and as `marker`.
        """
        marker = self.marker()
        if marker is None or marker.resolved is None or marker.state is State.UNPACKING:
            raise TaskError(
                "NothingLaidOut",
                f"there is no verified backup in {self.paths.work} to recover",
                remedy="The pod's init container `restore` must succeed first: see its log.",
                retryable=True,
            )
        return marker, marker.resolved

    def marker(self) -> Marker | None:
        """What an earlier attempt of this request left, None when there was none.

        Raises TaskError: VolumeOfAnotherRequest, TargetNotEmpty, MarkerUnreadable.
        """
        try:
            content = self.paths.marker.read_bytes()
        except FileNotFoundError:
            self._refuse_what_is_not_ours()
            return None
        try:
            marker = Marker.model_validate_json(content)
        except ValidationError as error:
            raise TaskError(
                "MarkerUnreadable",
                f"{self.paths.marker} is not a marker of this pgwarden: {error.error_count()} errors",
                remedy="Use the version of pgwarden that began this restore, or a new instance with a new claim.",
            ) from error
        if marker.request_uid != self.paths.request_uid:
            raise TaskError(
                "VolumeOfAnotherRequest",
                f"the data volume holds the restore of another RestoreRequest (UID {marker.request_uid}, "
                f"{marker.state}); this one is {self.paths.request_uid}",
                remedy=NEW_CLAIM,
            )
        if marker.state is State.PUT_BACK:
            raise TaskError(
                "PutBack",
                f"this restore was given up, and {self.paths.pgdata} is as it was before it",
                remedy="Make a new RestoreRequest.",
            )
        return marker

    def write(self, marker: Marker) -> None:
        """Puts the marker on the volume, for good. Raises TaskError with reason VolumeFull."""
        with volume_full_is_told(self.paths.marker.name):
            write_durably(self.paths.marker, marker.model_dump_json(by_alias=True, indent=2).encode() + b"\n")

    def clear(self) -> None:
        """Deletes what an unfinished attempt of this request unpacked, and makes the folders anew."""
        ours = (self.paths.data, self.paths.wal, self.paths.tablespaces, self.paths.original, self.paths.inputs)
        for folder in ours:
            if folder.exists():
                shutil.rmtree(folder)
        for folder in (self.paths.data, self.paths.wal, self.paths.original):
            folder.mkdir(mode=0o700)

    def close_to_others(self) -> None:
        """Gives PGDATA and the tablespaces mode 0700 again: PostgreSQL refuses the 2770 that fsGroup makes of it."""
        folders = [self.paths.data, *self.paths.tablespaces.glob("*")]
        for folder in folders:
            folder.chmod(0o700)

    def rename_in(self) -> None:
        """The last step: the restored directory becomes PGDATA. Raises TaskError with reason TargetNotEmpty."""
        if self.paths.data.exists():
            self._refuse_full_pgdata()
            self.paths.data.rename(self.paths.pgdata)
            sync_path(self.paths.pgdata.parent)
            sync_path(self.paths.work)
        if self.paths.wal.exists():
            shutil.rmtree(self.paths.wal)

    def _refuse_what_is_not_ours(self) -> None:
        self._refuse_full_pgdata()
        strangers = sorted(set(names_in(self.paths.work)) - {self.paths.lock.name, f"{self.paths.marker.name}.new"})
        if strangers:
            raise TaskError(
                "TargetNotEmpty",
                f"the folder {self.paths.work} holds {strangers[0]!r}, which no restore of pgwarden put there",
                remedy=NEW_CLAIM,
            )

    def _refuse_full_pgdata(self) -> None:
        if names_in(self.paths.pgdata):
            raise TaskError(
                "TargetNotEmpty",
                f"the folder {self.paths.pgdata} exists and is not empty; a restore never overwrites data",
                remedy=NEW_CLAIM,
            )


def names_in(folder: Path) -> list[str]:
    """Names in a folder, none when it does not exist."""
    return [entry.name for entry in os.scandir(folder)] if folder.exists() else []
