"""The folders of backups, from one listing: what lies in each, how old it is, and how its last check came out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pgwarden.storage.layout import CHECKS_FOLDER, RECORD_FILE
from pgwarden.storage.store import ObjectInfo

_CHECK = re.compile(r"(?P<time>[0-9]{8}T[0-9]{6}Z)-(?P<what>[a-z]+)-(?P<outcome>passed|failed)\.json")


@dataclass(frozen=True)
class Check:
    """One time that a backup's objects were read again."""

    time: datetime
    passed: bool


@dataclass
class BackupFolder:
    """What lies below one backup's folder, committed or not."""

    backup_id: str
    location: str
    objects: dict[str, ObjectInfo] = field(default_factory=dict)
    """By path inside the folder: data, manifest, and leftovers of attempts; neither the record nor the checks."""
    record: ObjectInfo | None = None
    checks: list[Check] = field(default_factory=list)
    check_objects: list[ObjectInfo] = field(default_factory=list)

    @property
    def last_check(self) -> Check | None:
        return max(self.checks, key=lambda check: check.time, default=None)

    @property
    def everything(self) -> list[ObjectInfo]:
        """All objects but the record."""
        return [*self.objects.values(), *self.check_objects]


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
            folder.check_objects.append(listed)
            if (match := _CHECK.fullmatch(path.rsplit("/", 1)[-1])) is not None:
                time = datetime.strptime(match["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                folder.checks.append(Check(time, match["outcome"] == "passed"))
        else:
            folder.objects[path] = listed
    return found
