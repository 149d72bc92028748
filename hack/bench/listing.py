"""A very long archive of WAL: how long a look at its continuity takes, from nothing and from a checkpoint.

    python hack/bench/listing.py [--keys 1000000] [--json FILE]

A claim with so many whole segments (16 TB of WAL, 30 days at 6 MB/s) but for one in the middle; as many names, of empty
objects, in memory (/dev/shm): what a listing costs does not depend on their size, and making and deleting a million of
files takes a disk minutes. The first look lists everything and writes a checkpoint,
the second one begins with that after 1,000 more segments have come. Each is a process of its own, and ends with an
error where it does not find the gap. Buckets answer 1,000 names at a time, as fast as their server can: that is in
docs/retention.md.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from hack.bench.backup import MEMORY  # noqa: E402
from hack.bench.measure import Cost, run  # noqa: E402
from hack.bench.report import Report, parser  # noqa: E402
from pgwarden.api.wal import segment_name  # noqa: E402
from pgwarden.jobs.files import ClaimLocation, StoreLocation  # noqa: E402
from pgwarden.storage import layout  # noqa: E402

ARCHIVE = layout.archive_folder("shop", "operational")
SEGMENT = 16 << 20
MORE = 1000
BUDGET_FULL_SECONDS = 30.0
BUDGET_AGAIN_SECONDS = 5.0
BUDGET_PEAK_MIB = 256.0
LOOK = """
import sys
from datetime import UTC, datetime
from pgwarden.catalogue.continuity import read_wal, write_checkpoint
from pgwarden.jobs.files import StoreLocation
from pgwarden.storage.store import open_store
from pgwarden.storage.wal_listing import Range
location, archive, segment, gap, end, most = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
store = open_store(StoreLocation.model_validate_json(location))
found = read_wal(store, archive, segment, datetime.now(UTC))
expected = (Range(0, gap * segment), Range((gap + 1) * segment, end * segment))
if found.timelines[1].ranges != expected or found.listed > most:
    sys.exit(f"{found.listed} objects were listed, and of WAL there is {found.timelines[1].ranges}")
write_checkpoint(store, archive, found.checkpoint)
"""


def fill(folder: Path, numbers: Iterator[int]) -> None:
    """Empty segments of these numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for number in numbers:
            name = f"{segment_name(1, number, SEGMENT)}.zst"
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=descriptor))
    finally:
        os.close(descriptor)


def look(location: StoreLocation, keys: int, *, end: int, most: int) -> Cost:
    """One look at an archive that ends with segment `end`; raises RuntimeError when it lists more than `most`."""
    numbers = map(str, (SEGMENT, keys // 2, end, most))
    command = [sys.executable, "-c", LOOK, location.model_dump_json(by_alias=True), ARCHIVE, *numbers]
    return run(command, {"PYTHONPATH": str(ROOT / "operator")})


def measure(keys: int) -> tuple[Cost, Cost]:
    """The first look, and the one after it."""
    root = Path(tempfile.mkdtemp(prefix="pgwarden-bench-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        location = StoreLocation(claim=ClaimLocation(path=str(root)))
        folder = root / layout.timeline_folder(ARCHIVE, 1)
        fill(folder, (number for number in range(keys) if number != keys // 2))
        first = look(location, keys, end=keys, most=keys)
        fill(folder, iter(range(keys, keys + MORE)))
        return first, look(location, keys, end=keys + MORE, most=4 * MORE)
    finally:
        shutil.rmtree(root)


def main() -> int:
    """Prints both looks; 0 when they are within the budgets."""
    arguments = parser(__doc__)
    arguments.add_argument("--keys", type=int, default=1_000_000, help="segments in the archive")
    chosen = arguments.parse_args()
    report = Report("listing", chosen.json)
    first, again = measure(chosen.keys)
    print(f"\n{'':24}{'seconds':>9}{'CPU s':>8}{'peak MiB':>10}")
    for name, cost in (("everything", first), ("from a checkpoint", again)):
        print(f"{name:24}{cost.seconds:9.2f}{cost.cpu_seconds:8.2f}{cost.peak_mib:10.0f}")
    what = f"continuity of {chosen.keys:,} segments"
    report.judge(f"{what}: everything", first.seconds, "s", at_most=BUDGET_FULL_SECONDS)
    report.judge(f"{what}: from a checkpoint", again.seconds, "s", at_most=BUDGET_AGAIN_SECONDS)
    report.judge(f"{what}: peak memory", max(first.peak_mib, again.peak_mib), "MiB", at_most=BUDGET_PEAK_MIB)
    return report.finish({"everything": asdict(first), "again": asdict(again)})


if __name__ == "__main__":
    sys.exit(main())
