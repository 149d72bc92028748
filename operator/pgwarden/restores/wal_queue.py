"""The agent's half of restore_command: hands WAL over, file by file, and never lets a doubt pass as "absent".

restore-wal.sh, in the server's container, looks into the queue's folder:

    present/<name>   the whole file, renamed in: taken
    absent/<name>    an authoritative "there is no such file": recovery may end here
    failed           anything else: the server stops
    requests/<name>  written by restore-wal.sh while it waits
    last             written by restore-wal.sh: the last file it took

A server that merely can't get a file must not hear "absent": it would end recovery early, promote, and the rows
after that point would be gone without a word.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pgwarden.api.wal import HISTORY_NAME, segments_between

PARTS = ("present", "absent", "requests")


class Answer(Enum):
    PRESENT = "present"
    ABSENT = "absent"
    FAILED = "failed"


@dataclass(frozen=True)
class CarriedWAL:
    """The WAL that a backup carries, and so everything there can ever be for it. Pure."""

    timeline: int
    start_lsn: str
    stop_lsn: str
    segment_bytes: int
    sizes: dict[str, int]
    """Name -> size in bytes of the files at hand."""

    @property
    def needed(self) -> list[str]:
        """The segments without which the copy is not consistent."""
        return segments_between(self.timeline, self.start_lsn, self.stop_lsn, self.segment_bytes)

    def answer(self, name: str) -> Answer:
        """What restore_command hears when it asks for a file.

        A history file, or a segment outside of what the backup needs, is absent when it isn't at hand: the backup is
        complete without it. A needed segment that is missing or not whole is a failure.
        """
        size = self.sizes.get(name)
        if HISTORY_NAME.fullmatch(name):
            return Answer.ABSENT if size is None else Answer.PRESENT
        if size == self.segment_bytes:
            return Answer.PRESENT
        return Answer.FAILED if size is not None or name in self.needed else Answer.ABSENT


class WALQueue:
    """The folder in which the agent answers."""

    def __init__(self, folder: Path, wal: Path, carried: CarriedWAL) -> None:
        self.folder = folder
        self.wal = wal
        self.carried = carried
        self.failed: str | None = None
        """Name of the file that could not be had; the server has been told to stop."""

    def open(self) -> None:
        """Makes the folder anew and puts in everything that is at hand, so that the server need not ask for it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for part in PARTS:
            (self.folder / part).mkdir(parents=True, mode=0o700)
        for name in self.carried.sizes:
            if self.carried.answer(name) is Answer.PRESENT:
                self._hand_over(name)

    def answer_requests(self) -> None:
        """Answers everything that has been asked since the last time."""
        for request in sorted((self.folder / "requests").iterdir()):
            self._answer(request.name)
            request.unlink()

    @property
    def last_taken(self) -> str:
        """Name of the last file the server took, empty before the first."""
        try:
            return (self.folder / "last").read_text().strip()
        except FileNotFoundError:
            return ""

    def _answer(self, name: str) -> None:
        answer = self.carried.answer(name)
        if answer is Answer.PRESENT:
            self._hand_over(name)
        elif answer is Answer.ABSENT:
            (self.folder / "absent" / name).touch()
        else:
            self.failed = name
            (self.folder / "failed").touch()

    def _hand_over(self, name: str) -> None:
        """A link, made in one step: the server copies from it, and the original stays for another attempt."""
        link = self.folder / "present" / name
        if not link.is_symlink():
            link.symlink_to(self.wal / name)


def sizes_of(folder: Path, wanted: Collection[str] | None = None) -> dict[str, int]:
    """Name -> size in bytes of the files in a folder."""
    return {
        path.name: path.stat().st_size
        for path in sorted(folder.iterdir())
        if path.is_file() and (wanted is None or path.name in wanted)
    }
