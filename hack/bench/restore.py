"""Restores beside doing it by hand and beside pgBackRest: same data, same file system, same compression, in turn.

    python hack/bench/restore.py [--what full chain wal] [--data random|pgbench] [--gib 2] [--segments 200] [--rounds 3]
                                 [--json FILE]

  full    a full backup, from the store to a verified directory that can recover
  chain   a full and an incremental in which one row in 20,000 has changed, to the same
  wal     the chain and 200 segments of WAL, to a recovered database that was shut down

All unpack zstd with two threads or processes and write into memory (/dev/shm) where there is room, so that syncing
costs nobody anything: pgwarden and pgBackRest sync what they have written, by hand pg_combinebackup does.
  pgwarden            the pod's agent as one process after the other, with PostgreSQL between them, out of a claim
  pgwarden, from S3   the same out of an S3 server on loopback with TLS, which takes its time from the same processors
  by hand             the script that stands in the backup's record: sha256sum, zstd, tar, pg_verifybackup,
                      pg_combinebackup; then PostgreSQL with the same settings and local WAL, and pg_checksums
  by hand, unchecked  the same without sha256sum, pg_verifybackup and pg_checksums
  pgBackRest          restore --type=none, process-max=2, out of its own repository of files of the same server
Needs what backup.py needs.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from hack.bench import data  # noqa: E402
from hack.bench.backup import BUDGET_PEAK_MIB, folder_for  # noqa: E402
from hack.bench.measure import Cost  # noqa: E402
from hack.bench.peers import PgBackRest  # noqa: E402
from hack.bench.report import Report, parser  # noqa: E402
from hack.bench.restorers import Hand, Pod, Told  # noqa: E402
from hack.bench.takers import Agent  # noqa: E402
from hack.bench.turns import Candidate, Costs, as_json, in_turn, peak_mib, print_table, ratio  # noqa: E402
from pgwarden.backups.record import BackupRecord  # noqa: E402
from pgwarden.jobs.files import StoreLocation  # noqa: E402
from pgwarden.storage.layout import RECORD_FILE  # noqa: E402
from pgwarden.storage.store import open_store  # noqa: E402
from tests.support.archive import ARCHIVE  # noqa: E402
from tests.support.backups import stored_record  # noqa: E402
from tests.support.postgres import PostgresServer, give_to_server_user, owned_folder  # noqa: E402
from tests.support.s3 import S3Server, s3_server  # noqa: E402
from tests.support.wal_archive import WALArchive  # noqa: E402

OURS, BUCKET, HAND, UNCHECKED, PGBACKREST = (
    "pgwarden",
    "pgwarden, from S3",
    "by hand",
    "by hand, unchecked",
    "pgBackRest",
)
WHAT = ("full", "chain", "wal")
BUDGETS = {"full": {PGBACKREST: 1.0}, "chain": {PGBACKREST: 1.5}, "wal": {HAND: 1.2}}
"""The most of each one's time."""
WAL_KEPT = "16GB"
BUDGET_WAITING = 0.05
"""What the server may wait for WAL in the time that it replays."""


@dataclass(frozen=True)
class Stored:
    """The same backups and WAL wherever they are restored from."""

    server: PostgresServer
    folder: Path
    claim: StoreLocation
    bucket: StoreLocation
    backups: dict[str, BackupRecord]
    """The full and the incremental, by the name of what is restored with them."""
    labels: dict[str, str]
    """The same of pgBackRest."""
    pgbackrest: PgBackRest
    size: int
    """Of the databases, in bytes."""

    def location(self, what: str) -> str:
        return f"{ARCHIVE}/backups/{self.backups[what].backup_id}"


def store(server: PostgresServer, s3: S3Server, folder: Path, kind: str, gib: float, segments: int) -> Stored:
    """Fills the server and backs it up, everybody in his own way."""
    size = data.load(server, kind, gib)
    agent, pgbackrest = Agent.to_claim(server, folder), PgBackRest(server, folder)
    claim = agent.store
    labels: dict[str, str] = {}
    backups: dict[str, BackupRecord] = {}
    for what, take in (("full", agent.full), ("chain", agent.incremental)):
        take()
        (pgbackrest.full if what == "full" else pgbackrest.incremental)()
        labels[what] = pgbackrest.newest()
        known = {record.backup_id for record in backups.values()}
        (backups[what],) = (each for each in records(claim) if each.backup_id not in known)
        if what == "full":
            data.write_lightly(server, kind)
    labels["wal"], backups["wal"] = labels["chain"], backups["chain"]
    # All of it is stored at once when it is written, so no checkpoint may take any of it away before.
    server.configure({"wal_keep_size": WAL_KEPT})
    server.reload()
    data.write_wal(server, kind, segments)
    archive = WALArchive(server, claim)
    archive.note_moment()
    if len(archive.segments()) < segments:
        raise RuntimeError(f"the archive has {len(archive.segments())} segments of WAL instead of {segments}")
    bucket = s3.location()
    copy(claim, bucket)
    s3.open_to_others()
    assert claim.claim is not None
    give_to_server_user(Path(claim.claim.path))
    print(f"stored two backups and {segments} segments of WAL; restoring", flush=True)
    return Stored(server, folder, claim, bucket, backups, labels, pgbackrest, size)


def records(claim: StoreLocation) -> list[BackupRecord]:
    """Of all backups in the archive."""
    folder = f"{ARCHIVE}/backups"
    return [stored_record(claim, f"{folder}/{name}") for name in open_store(claim).folders(folder)]


def copy(claim: StoreLocation, bucket: StoreLocation) -> None:
    """Puts every object of the one store into the other, records of backups last."""
    source, target = open_store(claim), open_store(bucket)
    for listed in sorted(source.list(""), key=lambda each: each.path.endswith(f"/{RECORD_FILE}")):
        target.put_stream(listed.path, source.read(listed.path))


def measure(stored: Stored, what: str, rounds: int) -> tuple[Costs, list[Told]]:
    """What each round cost each candidate, and what our restores from the claim told, without the first."""
    programs, folder = stored.server.bin, stored.folder
    location, record = stored.location(what), stored.backups[what]
    claim = Pod(folder / "from-claim", stored.claim, programs)
    bucket = Pod(folder / "from-bucket", stored.bucket, programs)
    assert stored.claim.claim is not None
    hand = Hand(folder / "by-hand", Path(stored.claim.claim.path), ARCHIVE, programs)
    theirs = folder / "theirs"

    def by_hand(*, unchecked: bool) -> Cost:
        if what == "wal":
            return hand.restore(record, claim.configuration, unchecked=unchecked)
        return hand.lay_out(record, unchecked=unchecked)

    def by_pod(pod: Pod) -> Cost:
        return pod.restore(location) if what == "wal" else pod.lay_out(location)

    candidates = [
        Candidate(OURS, lambda: by_pod(claim), claim.forget),
        Candidate(BUCKET, lambda: by_pod(bucket), bucket.forget),
        Candidate(HAND, lambda: by_hand(unchecked=False), hand.forget),
        Candidate(UNCHECKED, lambda: by_hand(unchecked=True), hand.forget),
    ]
    if what != "wal":
        candidates.append(
            Candidate(
                PGBACKREST,
                lambda: stored.pgbackrest.restore(stored.labels[what], owned_folder(theirs)),
                lambda: shutil.rmtree(theirs),
            )
        )
    costs = in_turn(candidates, rounds)
    for each in ("from-claim", "from-bucket", "by-hand"):
        shutil.rmtree(folder / each)
    return costs, claim.told[1:]


def print_steps(told: list[Told]) -> None:
    """Where our time went."""
    steps = {name: statistics.median(each.steps[name] for each in told) for name in told[0].steps}
    print(f"steps of {OURS}, seconds: " + ", ".join(f"{name} {took:.2f}" for name, took in steps.items()))


def judge(report: Report, what: str, kind: str, size: int, costs: Costs, told: list[Told]) -> None:
    name = {"full": "full", "chain": "full and incremental", "wal": "full, incremental and WAL"}[what]
    for peer, most in BUDGETS[what].items():
        report.judge(f"{name}, {kind}: time in that of {peer}", ratio(costs[OURS], costs[peer]), "", at_most=most)
    peak = max(peak_mib(costs[OURS]), peak_mib(costs[BUCKET]))
    report.judge(f"{name}, {kind}: peak memory", peak, "MiB", at_most=BUDGET_PEAK_MIB)
    amplified = max(each.peak_bytes for each in told) / size
    print(f"space: at its most {amplified:.2f} times the databases' size lay on the volume and in the scratch volume")
    if what == "wal":
        replayed = statistics.median(each.replayed_seconds for each in told)
        waited = statistics.median(each.waited_seconds / each.replayed_seconds for each in told)
        print(f"replay took {replayed:.2f} s")
        report.judge(f"{name}, {kind}: waiting for WAL in replay", waited, "", at_most=BUDGET_WAITING)


def main() -> int:
    """Prints the tables; 0 when all budgets are kept."""
    arguments = parser(__doc__)
    arguments.add_argument("--what", choices=WHAT, nargs="+", default=list(WHAT))
    arguments.add_argument("--data", choices=data.KINDS, default="random")
    arguments.add_argument("--gib", type=float, default=2.0, help="size of the data")
    arguments.add_argument("--segments", type=int, default=200, help="of WAL after the incremental")
    arguments.add_argument("--rounds", type=int, default=3, help="beside one to warm up")
    chosen = arguments.parse_args()
    report = Report("restore", chosen.json)
    runs = {}
    with ExitStack() as stack:
        server, s3 = stack.enter_context(data.server()), stack.enter_context(s3_server())
        folder = stack.enter_context(folder_for(round(3 * chosen.gib * 2**30) + chosen.segments * data.SEGMENT))
        stored = store(server, s3, folder, chosen.data, chosen.gib, chosen.segments)
        server.stop()
        for what in chosen.what:
            costs, told = measure(stored, what, chosen.rounds)
            print(f"\n{what}")
            print_table(costs, OURS, stored.size)
            print_steps(told)
            judge(report, what, chosen.data, stored.size, costs, told)
            runs[what] = {"runs": as_json(costs), "told": [asdict(each) for each in told]}
    return report.finish({"data": chosen.data, "bytes": stored.size, **runs})


if __name__ == "__main__":
    sys.exit(main())
