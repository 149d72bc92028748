"""The folders of backups, from one listing: what lies in each, how old it is, how its last check came out, its pins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pgwarden.storage.layout import CHECKS_FOLDER, PINS_FOLDER, RECORD_FILE
from pgwarden.storage.store import ObjectInfo

_CHECK = re.compile(r"(?P<time>[0-9]{8}T[0-9]{6}Z)-(?P<what>[a-z]+)-(?P<outcome>passed|failed)\.json")
_PIN = re.compile(r"(?P<number>[0-9]{4})-(?P<outcome>pinned|unpinned)\.json")


@dataclass(frozen=True)
class Check:
    """One time that a backup's objects were read again."""

    time: datetime
    passed: bool


@dataclass(frozen=True)
class Pin:
    """One time that a backup was pinned, or that its pin was taken away."""

    number: int
    pinned: bool
    listed: ObjectInfo


@dataclass
class BackupFolder:
    """What lies below one backup's folder, committed or not."""

    backup_id: str
    location: str
    objects: dict[str, ObjectInfo] = field(default_factory=dict)
    """By path inside the folder: data, manifest, and leftovers of attempts; neither the record nor checks and
    pins."""
    record: ObjectInfo | None = None
    checks: list[Check] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    beside: list[ObjectInfo] = field(default_factory=list)
    """What lies in the folders of checks and pins."""

    @property
    def last_check(self) -> Check | None:
        return max(self.checks, key=lambda check: check.time, default=None)

    @property
    def everything(self) -> list[ObjectInfo]:
        """All objects but the record."""
        return [*self.objects.values(), *self.beside]


def folders_of(listing: Iterable[ObjectInfo], parent: str) -> dict[str, BackupFolder]:
    """The folders right below `parent`, by the ids of their backups."""
    found: dict[str, BackupFolder] = {}
    for listed in listing:
        backup_id, _, path = listed.path.removeprefix(f"{parent}/").partition("/")
        if not path:
            continue  # a file where only folders should be is no backup's
        folder = found.get(backup_id)
        if folder is None:
            folder = found[backup_id] = BackupFolder(backup_id, f"{parent}/{backup_id}")
        if path == RECORD_FILE:
            folder.record = listed
        elif path.startswith(f"{CHECKS_FOLDER}/"):
            folder.beside.append(listed)
            if (match := _CHECK.fullmatch(path.rsplit("/", 1)[-1])) is not None:
                time = datetime.strptime(match["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                folder.checks.append(Check(time, match["outcome"] == "passed"))
        elif path.startswith(f"{PINS_FOLDER}/"):
            folder.beside.append(listed)
            if (match := _PIN.fullmatch(path.rsplit("/", 1)[-1])) is not None:
                folder.pins.append(Pin(int(match["number"]), match["outcome"] == "pinned", listed))
        else:
            folder.objects[path] = listed
    return found
