"""Processes whose clock is wrong, and goes wrong while they run (faketime)."""

from __future__ import annotations

from pathlib import Path

LIBRARIES = "/usr/lib"


class WrongClock:
    """The clock of a process that is started with `environment`; other clocks, and its monotonic one, stay right."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set("+0")
        (library,) = Path(LIBRARIES).glob("*/faketime/libfaketimeMT.so.1")
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        """From now on the clock is wrong by so much, as faketime writes it: +2d, -3h."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.rename(self._file)
