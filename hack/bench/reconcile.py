"""The operator's speed and size, on the real cluster: how soon a Job exists, how a cold start over many objects goes.

    python hack/bench/reconcile.py [--backups 20] [--objects 1000 10000] [--fresh 1000] [--json FILE]

Measured are
  apply -> Job    from the return of the call that creates a DatabaseBackup to the ADDED event of its Job: with an
                  operator as a process of this machine, and with the one that is installed in the cluster
  cold start      an operator as a process of this machine over finished DatabaseBackups of about 2 KB: from the moment
                  it holds the Lease until each has been looked at, its memory then and at its highest, its writes
  fresh objects   the same over DatabaseBackups that nobody has looked at: each gets its status and one Event
Needs root, a cluster with pgwarden installed (`make install`), and Services that this machine can reach.
(This file is not called operator.py: beside the other scripts it would hide the standard library's module.)
"""

from __future__ import annotations

import asyncio
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from hack.bench.report import Report, parser  # noqa: E402
from pgwarden.kube.client import KubeClient  # noqa: E402
from pgwarden.kube.types import DATABASE_BACKUPS, JOBS  # noqa: E402
from tests.support.api_proxy import upstream  # noqa: E402
from tests.support.cluster import Cluster  # noqa: E402
from tests.support.operator_process import OperatorProcess  # noqa: E402
from tests.support.workplace import (  # noqa: E402
    LABEL,
    OWNER,
    SMALL_JOBS,
    Workplace,
    kept_out,
    name_server,
    prepare,
)

BUDGET_SECONDS_TO_JOB = 0.1
BUDGET_OBJECTS_A_SECOND = 300
BUDGET_MIB = 350
AT_ONCE = 32
REQUESTS = "pgwarden_operator_api_request_duration_seconds_count"
# As a person who applies manifests may, and as no operator may.
BACKUPS = replace(DATABASE_BACKUPS, verbs=frozenset({"create", "delete"}))


@dataclass(frozen=True)
class Start:
    """One start of an operator over many objects."""

    objects: int
    object_bytes: int
    seconds: float
    objects_a_second: float
    looks: int
    writes: int
    rest_mib: float
    peak_mib: float


@asynccontextmanager
async def connected(workplace: Workplace) -> AsyncIterator[KubeClient]:
    """A client without a limit of its own."""
    client = await KubeClient.connect(1e6)
    try:
        yield client
    finally:
        await client.close()


async def seconds_to_job(workplace: Workplace, count: int) -> list[float]:
    """Seconds until a Job exists for each of `count` DatabaseBackups, made one after the other."""
    server, tls = upstream(workplace.kubeconfig)
    spec = {"clusterRef": {"name": "analytics"}, "storeRef": {"name": "claim"}, **SMALL_JOBS}
    taken = []
    async with connected(workplace) as client, aiohttp.ClientSession() as session:
        url = f"{server}{JOBS.path(workplace.namespace)}?watch=true"
        async with session.get(url, ssl=tls, timeout=aiohttp.ClientTimeout(total=None)) as watch:
            for _ in range(count):
                made = await client.create(BACKUPS, workplace.namespace, backup(f"b-{secrets.token_hex(4)}", spec))
                began = time.monotonic()
                await job_event(watch, "ADDED", made["metadata"]["uid"])
                taken.append(time.monotonic() - began)
                # Two backups of one cluster never run at once: this one has to go first.
                await client.delete(BACKUPS, workplace.namespace, made["metadata"]["name"])
                await job_event(watch, "DELETED", made["metadata"]["uid"])
                await asyncio.sleep(0.5)
    return taken


async def job_event(watch: aiohttp.ClientResponse, type_: str, owner_uid: str) -> None:
    """Returns when the watch tells that event of a Job of that owner. Raises TimeoutError after a minute."""
    async with asyncio.timeout(60):
        while True:
            event = json.loads(await watch.content.readline())
            labels = event["object"]["metadata"].get("labels") or {}
            if event["type"] == type_ and labels.get(OWNER) == owner_uid:
                return


def backup(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": BACKUPS.api_version,
        "kind": BACKUPS.kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def finished_status(number: int) -> dict[str, Any]:
    """The status of a backup that was taken, as the operator writes it."""
    moment = "2026-11-01T02:00:00Z"
    name = f"20261101T020000Z-full-{number:010x}"
    message = "1.2Gi stored as 310Mi in 12 s; restorable up to 5/3A000120"
    states = {"Ready": "True", "Reconciling": "False", "Stalled": "False", "Restorable": "True"}
    return {
        "observedGeneration": 1,
        "conditions": [
            {
                "type": type_,
                "status": state,
                "reason": "Completed",
                "message": message if state == "True" else "",
                "lastTransitionTime": moment,
                "observedGeneration": 1,
            }
            for type_, state in states.items()
        ],
        "attempts": [
            {
                "number": 1,
                "job": f"object-{number:06}-{number:010x}",
                "startTime": moment,
                "completionTime": moment,
                "reason": "BackupCommitted",
                "message": "9 objects, 325452831 of 1288490188 bytes, in 12 s",
            }
        ],
        "backupID": name,
        "location": f"bench/cluster/0001/backups/{name}",
        "startTime": moment,
        "completionTime": moment,
        "startLSN": "5/39000028",
        "stopLSN": "5/3A000120",
        "timeline": 1,
        "postgresVersion": "17.12",
        "systemIdentifier": "7563411918374651932",
        "plainBytes": 1288490188,
        "storedBytes": 325452831,
        "size": "310Mi",
        "durationSeconds": 12.0,
        "objects": 9,
        "tablespaces": 0,
        "encrypted": False,
    }


async def fill(workplace: Workplace, count: int, *, finished: bool) -> int:
    """Makes `count` DatabaseBackups; returns the size of one in bytes, as the API server gives it."""
    spec = {"clusterRef": {"name": "cluster"}, "storeRef": {"name": "store"}}
    size = 0
    async with connected(workplace) as client:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            nonlocal size
            async with gate:
                body = await client.create(BACKUPS, workplace.namespace, backup(f"object-{number:06}", spec))
                if finished:
                    name, patch = body["metadata"]["name"], {"status": finished_status(number)}
                    body = await client.merge_status(DATABASE_BACKUPS, workplace.namespace, name, patch)
                size = len(json.dumps(body))

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))
    return size


def start(workplace: Workplace, objects: int, object_bytes: int) -> Start:
    """Starts an operator and waits until it has looked at every object."""
    with workplace.operator() as operator:
        operator.wait_until_leading()
        while looks(operator) < objects or operator.metric("pgwarden_operator_queue_depth") > 0:
            if not operator.running:
                raise RuntimeError(f"the operator ended: {operator.tail()}")
            time.sleep(0.05)
        seconds = time.time() - began_to_lead(operator)
        settle(operator)
        writes = sum(operator.metric(REQUESTS, verb=verb) for verb in ("create", "patch", "delete"))
        writes -= operator.metric(REQUESTS, verb="create", resource="leases")
        return Start(
            objects=objects,
            object_bytes=object_bytes,
            seconds=seconds,
            objects_a_second=objects / seconds,
            looks=int(looks(operator)),
            writes=int(writes),
            rest_mib=operator.resident_bytes / 2**20,
            peak_mib=operator.peak_bytes / 2**20,
        )


def looks(operator: OperatorProcess) -> float:
    return operator.metric("pgwarden_operator_reconciles_total", kind="DatabaseBackup", outcome="done")


def began_to_lead(operator: OperatorProcess) -> float:
    """When the operator said that it leads, in seconds since the epoch."""
    lines = (json.loads(line) for line in operator.log.read_text().splitlines() if line.startswith("{"))
    told = next(line["timestamp"] for line in lines if line["message"] == "this process leads")
    return datetime.fromisoformat(told).timestamp()


def settle(operator: OperatorProcess) -> None:
    """Returns when it has used next to no processor time for three seconds."""
    quiet = 0
    while quiet < 3:
        before = operator.processor_seconds
        time.sleep(1)
        quiet = quiet + 1 if operator.processor_seconds - before < 0.1 else 0


@contextmanager
def workplaces() -> Iterator[Workplace]:
    """A namespace that only operators of this benchmark act on, and a folder for their files."""
    cluster = Cluster.find()
    address = name_server(cluster)
    if address is None:
        raise SystemExit("the Services of the cluster cannot be reached from this machine")
    value = f"bench-{secrets.token_hex(3)}"
    with ExitStack() as stack:
        stack.enter_context(kept_out(cluster, value))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        namespace = stack.enter_context(cluster.namespace(f"bench-operator-{secrets.token_hex(3)}"))
        cluster.kubectl("label", "namespace", namespace, f"{LABEL}={value}")
        yield Workplace(cluster, namespace, folder, address)


def measure_latency(count: int) -> dict[str, list[float]]:
    """Seconds to the Job, by where the operator runs."""
    with workplaces() as workplace:
        prepare(workplace)
        with workplace.operator() as operator:
            operator.wait_until_leading()
            taken = {"process of this machine": asyncio.run(seconds_to_job(workplace, count))}
        workplace.cluster.kubectl("label", "namespace", workplace.namespace, f"{LABEL}-")
        asyncio.run(seconds_to_job(workplace, 1))
        taken["installed in the cluster"] = asyncio.run(seconds_to_job(workplace, count))
        return taken


def measure_start(count: int, *, finished: bool) -> Start:
    with workplaces() as workplace:
        size = asyncio.run(fill(workplace, count, finished=finished))
        return start(workplace, count, size)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(len(ordered) * share * 100) // 100) - 1)]


def print_tables(latencies: dict[str, list[float]], starts: dict[str, Start]) -> None:
    """Prints both tables."""
    if latencies:
        print(f"\n{'apply -> Job exists, operator':34}{'runs':>6}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}")
    for name, taken in latencies.items():
        p50, p95 = statistics.median(taken), percentile(taken, 0.95)
        print(f"{name:34}{len(taken):6}{p50 * 1000:9.0f}{p95 * 1000:9.0f}{max(taken) * 1000:9.0f}")
    if starts:
        print(
            f"\n{'operator over objects':28}{'objects':>9}{'bytes':>7}{'seconds':>9}{'per s':>8}{'looks':>8}"
            f"{'writes':>8}{'rest MiB':>10}{'peak MiB':>10}"
        )
    for name, one in starts.items():
        print(
            f"{name:28}{one.objects:9}{one.object_bytes:7}{one.seconds:9.1f}{one.objects_a_second:8.0f}{one.looks:8}"
            f"{one.writes:8}{one.rest_mib:10.0f}{one.peak_mib:10.0f}"
        )


def judge(report: Report, latencies: dict[str, list[float]], cold: dict[str, Start]) -> None:
    """Puts the numbers beside their budgets."""
    for name, taken in latencies.items():
        p50 = statistics.median(taken) * 1000
        report.judge(f"apply -> Job exists, p50, {name}", p50, "ms", at_most=BUDGET_SECONDS_TO_JOB * 1000)
    for name, one in cold.items():
        report.judge(name, one.objects_a_second, "objects/s", at_least=BUDGET_OBJECTS_A_SECOND)
        report.judge(f"{name}: peak memory", one.peak_mib, "MiB", at_most=BUDGET_MIB)
        report.judge(f"{name}: writes", one.writes, "", at_most=0)


def main() -> int:
    """Prints both tables; 0 when all budgets are kept."""
    arguments = parser(__doc__)
    arguments.add_argument("--backups", type=int, default=20, help="how many Jobs are waited for")
    arguments.add_argument("--objects", type=int, nargs="*", default=[1000, 10000], help="finished ones")
    arguments.add_argument("--fresh", type=int, default=1000, help="fresh ones")
    chosen = arguments.parse_args()
    report = Report("operator", chosen.json)
    latencies = measure_latency(chosen.backups) if chosen.backups else {}
    starts = {f"cold start, {count} finished": measure_start(count, finished=True) for count in chosen.objects}
    cold = dict(starts)
    if chosen.fresh:
        starts[f"{chosen.fresh} fresh"] = measure_start(chosen.fresh, finished=False)
    print_tables(latencies, starts)
    judge(report, latencies, cold)
    return report.finish({"secondsToJob": latencies, "starts": {name: asdict(one) for name, one in starts.items()}})


if __name__ == "__main__":
    sys.exit(main())
