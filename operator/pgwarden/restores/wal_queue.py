"""The agent's half of restore_command: hands WAL over, file by file, and never lets a doubt pass as "absent".

restore-wal.sh, in the server's container, looks into the queue's folder:

    present/<name>   the whole file, renamed in: taken
    absent/<name>    an authoritative "there is no such file": recovery may end here
    failed           anything else: the server stops
    requests/<name>  written by restore-wal.sh while it waits, again when its answer is gone before it was taken
    last             written by restore-wal.sh: the last file it took

A server that merely can't get a file must not hear "absent": it would end recovery early, promote, and the rows
after that point would be gone without a word.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Protocol

from pgwarden.api.wal import SEGMENT_NAME
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.wal_plan import Answer, WALPlan

PARTS = ("present", "absent", "requests", "coming")


class Source(Protocol):
    """Where the WAL comes from that the backup does not carry."""

    def keep_ahead(self, position: str) -> None:
        """Makes ready the segment `position` and what follows it; what lies behind may go."""

    def fetched(self, name: str) -> bool:
        """Whether the segment lies in `present` now. Raises TaskError when it cannot be had."""


class WALQueue:
    """The folder in which the agent answers."""

    def __init__(self, folder: Path, wal: Path, plan: WALPlan) -> None:
        self.folder = folder
        self.wal = wal
        self.plan = plan
        self.source: Source | None = None
        self.failed: str | None = None
        """Name of the file that could not be had; the server has been told to stop."""
        self.trouble: TaskError | None = None
        """Why, where the store said so."""
        self.waited_seconds = 0.0
        """For how long the server waited for segments."""
        self._asked: dict[str, float] = {}
        self._taken = ""
        self._position = ""
        """The segment where recovery is. It may lie before the last one taken: PostgreSQL reads ahead of what it
        replays, and where it ends it reads the last record again, which can be in an earlier segment."""

    @property
    def present(self) -> Path:
        return self.folder / "present"

    @property
    def coming(self) -> Path:
        """Where files are written before they are renamed in."""
        return self.folder / "coming"

    def open(self) -> None:
        """Makes the folder anew and puts in everything that is at hand, so that the server need not ask for it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for part in PARTS:
            (self.folder / part).mkdir(parents=True, mode=0o700)
        for name in self.plan.carried:
            if self.plan.answer(name) is Answer.PRESENT:
                self._hand_over(name)

    def answer_requests(self) -> None:
        """Answers everything that has been asked since the last time, as far as it can be answered yet."""
        requests = sorted((self.folder / "requests").iterdir())
        for request in requests:
            asked = self._asked.setdefault(request.name, time.monotonic())
            if self._answer(request.name):
                request.unlink()
                del self._asked[request.name]
                if SEGMENT_NAME.fullmatch(request.name):
                    self.waited_seconds += time.monotonic() - asked
        # After the requests: whoever asks has taken before what `last` says.
        taken, taken_before = self.last_taken, self._taken
        self._taken = taken
        segments = [request.name for request in requests if SEGMENT_NAME.fullmatch(request.name)]
        if segments:
            self._position = max(segments, key=lambda name: name[8:])
        elif taken != taken_before:
            self._position = taken
        if self.source is not None and self.failed is None:
            self.source.keep_ahead(self._position)

    @property
    def last_taken(self) -> str:
        """Name of the last file the server took, empty before the first."""
        try:
            return (self.folder / "last").read_text().strip()
        except FileNotFoundError:
            return ""

    def _answer(self, name: str) -> bool:
        """Whether the file's fate is known and told."""
        answer = self.plan.answer(name)
        if (self.present / name).exists():
            return True
        if answer is Answer.FETCH and self.source is not None:
            try:
                return self.source.fetched(name)
            except TaskError as error:
                self.trouble = error
                answer = Answer.FAILED
        if answer is Answer.PRESENT:
            self._hand_over(name)
        elif answer is Answer.ABSENT:
            (self.folder / "absent" / name).touch()
        else:
            self.failed = name
            (self.folder / "failed").touch()
        return True

    def _hand_over(self, name: str) -> None:
        """A link, made in one step: the server copies from it, and the original stays for another attempt."""
        link = self.present / name
        if not link.is_symlink():
            link.symlink_to(self.wal / name)


def sizes_of(folder: Path) -> dict[str, int]:
    """Name -> size in bytes of the files in a folder."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
