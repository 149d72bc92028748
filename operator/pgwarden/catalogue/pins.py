"""Pins: what people had kept for as long as they like. They lie in the store, so that they hold without any object.

Each time a backup is pinned, or the pin is taken away, an object is created beside it that nobody ever changes:
`pins/0001-pinned.json`, `pins/0002-unpinned.json`; the highest number holds. Names alone pin, as what is kept too long
does no harm. Whoever can write into the store must not be able to let a pinned backup expire, though: with the store's
catalogue key, a pin is taken away only by what a holder of that key wrote for this very place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import Field, ValidationError

from pgwarden.backups.record import Authentication, RecordModel
from pgwarden.catalogue.contents import Trouble
from pgwarden.catalogue.folders import BackupFolder, Pin, folders_of
from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.authenticity import Authenticity, sign, verify_record
from pgwarden.storage.store import ObjectExists, Store


class PinRecord(RecordModel):
    """`pins/<number>-<pinned|unpinned>.json`."""

    schema_version: int = 1
    backup_id: str
    number: int = Field(ge=1)
    pinned: bool
    time: datetime
    asked_by: str = ""
    """Who wanted it: a DatabaseBackup, or user and host of a shell."""
    authentication: Authentication | None = None
    """None when it was written without the store's catalogue key."""


@dataclass(frozen=True)
class Wish:
    """What becomes of a backup's pin, when, and who asked for it."""

    pinned: bool
    time: datetime
    asked_by: str


def is_pinned(store: Store, folder: BackupFolder, key: bytes | None, troubles: list[Trouble]) -> bool:
    """Whether a backup is pinned. What may not take a pin away is told in `troubles` and passed over. Raises what
    `Store` raises and may be tried again."""
    for pin in sorted(folder.pins, key=lambda pin: pin.number, reverse=True):
        why = "" if pin.pinned else why_not_believed(store, folder, pin, key)
        if not why:
            return pin.pinned
        troubles.append(Trouble(pin.listed.path, "PinNotAuthentic", f"{pin.listed.path} takes no pin away: {why}"))
    return False


def why_not_believed(store: Store, folder: BackupFolder, pin: Pin, key: bytes | None) -> str:
    """Why an object does not take a pin away; empty when it does."""
    try:
        content = store.read_small(pin.listed.path)
        told = PinRecord.model_validate_json(content)
    except ValidationError as error:
        return f"it is no record of a pin ({error.error_count()} errors)"
    except TaskError as error:
        if error.retryable:
            raise
        return error.message
    if (told.backup_id, told.number, told.pinned) != (folder.backup_id, pin.number, False):
        return f"it was written for {told.backup_id}, number {told.number}"
    if key is not None and verify_record(content, key) is not Authenticity.AUTHENTIC:
        return "it was not written with the store's present catalogue key"
    return ""


def write_pin(store: Store, archives: Sequence[str], backup_id: str, wish: Wish, key: bytes | None) -> bool:
    """Pins a backup, or takes its pin away; False when that is so already.

    Raises TaskError: BackupNotFound, CatalogueKeyNeeded, and what `Store` raises.
    """
    folder = find_folder(store, archives, backup_id)
    while True:
        if is_pinned(store, folder, key, []) == wish.pinned:
            return False
        refuse_without_key(store, folder, wish, key)
        number = 1 + max((pin.number for pin in folder.pins), default=0)
        record = PinRecord(
            backup_id=backup_id, number=number, pinned=wish.pinned, time=wish.time, asked_by=wish.asked_by
        )
        try:
            store.put(layout.pin_object(folder.location, number, pinned=wish.pinned), encoded(record, key))
        except ObjectExists:  # somebody else wished the same at the same moment
            folder = find_folder(store, archives, backup_id)
            continue
        return True


def refuse_without_key(store: Store, folder: BackupFolder, wish: Wish, key: bytes | None) -> None:
    """Raises TaskError with reason CatalogueKeyNeeded: what is written without the key takes no pin away from which
    whoever has the key was to be kept off."""
    if wish.pinned or key is not None:
        return
    newest = max(folder.pins, key=lambda pin: pin.number)
    if b'"authentication"' in store.read_small(newest.listed.path):
        raise TaskError(
            "CatalogueKeyNeeded",
            f"backup {folder.backup_id} was pinned with the store's catalogue key, and only with it the pin goes",
            remedy="Name the folder with the keys of the Secret <store>-catalogue-key: --catalogue-key FOLDER; or "
            "unpin it through the Kubernetes cluster that pinned it.",
        )


def find_folder(store: Store, archives: Sequence[str], backup_id: str) -> BackupFolder:
    """The folder of a committed backup, in the newest of these archives that has it. Raises TaskError with reason
    BackupNotFound."""
    for archive in reversed(archives):
        for parent in (layout.BACKUPS_FOLDER, layout.LOGICAL_FOLDER):
            place = layout.join(archive, parent)
            folder = folders_of(store.list(layout.join(place, backup_id)), place).get(backup_id)
            if folder is not None and folder.record is not None:
                return folder
    raise TaskError(
        "BackupNotFound",
        f"there is no backup {backup_id} in {', '.join(archives)}",
        remedy="pgwarden backup list names those that are there.",
    )


def encoded(record: PinRecord, key: bytes | None) -> bytes:
    """The content of the object, authenticated where there is a key."""
    if key is not None:
        document = json.loads(record.model_dump_json(by_alias=True, exclude_none=True))
        signed = Authentication.model_validate(sign(document, key))
        record = record.model_copy(update={"authentication": signed})
    return record.model_dump_json(by_alias=True, exclude_none=True, indent=2).encode() + b"\n"
