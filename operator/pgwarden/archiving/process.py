"""The archiver's process: its settings file, its document, and an orderly end."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import structlog
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError

from pgwarden.archiving.archiver import Archiver
from pgwarden.archiving.contract import PORT, SETTINGS_FILE, STATUS_PATH, ArchiverSettings
from pgwarden.archiving.metrics import metrics
from pgwarden.http_service import Answer, serve
from pgwarden.jobs.memory import return_large_blocks
from pgwarden.logs import configure

SETTINGS_SECONDS = 1.0
STALE_SECONDS = 180.0
"""Connecting to servers that do not answer may take long; longer than this nothing does."""
END_SECONDS = 19.0
LARGE_BYTES = 1 << 20
"""What segments are packed into is larger: else it piles up, and the spool bounds the process no more."""

log = structlog.get_logger()


class Process:
    """One archiver at a time: that of the present settings."""

    def __init__(self, settings_file: Path) -> None:
        self._file = settings_file
        self._content = b""
        self.archiver: Archiver | None = None

    def refresh(self) -> None:
        """Begins anew when the settings have changed; a file that cannot be read leaves everything as it is."""
        try:
            content = self._file.read_bytes()
            if content == self._content:
                return
            settings = ArchiverSettings.model_validate_json(content)
        except (OSError, ValidationError) as error:
            log.error("the settings cannot be read", file=str(self._file), error=str(error))
            return
        self._content = content
        self.end("its settings have changed; it begins anew with them")
        self.archiver = Archiver(settings)
        self.archiver.start()

    def end(self, why: str) -> None:
        """Ends the archiver; what it could not upload in time is on the server still."""
        if self.archiver is not None:
            self.archiver.stop(why)
            self.archiver.join(END_SECONDS)

    def answer(self, path: str) -> Answer | None:
        """The answer to a GET request."""
        archiver = self.archiver
        if path == "/healthz":
            alive = archiver is None or (archiver.is_alive() and time.monotonic() - archiver.beat < STALE_SECONDS)
            return (200, "text/plain", b"ok\n") if alive else (503, "text/plain", b"the archiver hangs\n")
        if path == "/readyz":
            return (200, "text/plain", b"ok\n") if archiver else (503, "text/plain", b"no settings yet\n")
        if archiver is None:
            return None
        if path == STATUS_PATH:
            return 200, "application/json", archiver.status.report().model_dump_json(by_alias=True).encode()
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, metrics(archiver.status.report())
        return None


def main(settings_file: str = SETTINGS_FILE, port: int = PORT) -> int:
    """Runs until SIGTERM or SIGINT, and ends within 20 s then."""
    configure("INFO")
    return_large_blocks(LARGE_BYTES)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    process = Process(Path(settings_file))
    server = serve(port, process.answer)
    while not stop.is_set():
        process.refresh()
        stop.wait(SETTINGS_SECONDS)
    process.end("the process was told to end")
    server.shutdown()
    return 0
