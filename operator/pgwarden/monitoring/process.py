"""The monitor process: looks at every server of its list at an interval, and serves what it saw.

Each DatabaseCluster has a thread of its own, so that a server that hangs never delays another. The list and the
Secrets are files, read again when they change; nothing needs a restart.
"""

from __future__ import annotations

import json
import random
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import ValidationError

from pgwarden.http_service import Answer, serve
from pgwarden.logs import configure
from pgwarden.monitoring.contract import (
    OBSERVATIONS_PATH,
    PORT,
    SERVERS_FILE,
    ClusterObservation,
    Observations,
    Servers,
    WatchedCluster,
)
from pgwarden.monitoring.observe import Observer

LIST_SECONDS = 2.0

log = structlog.get_logger()


class Watcher(threading.Thread):
    """Looks at one DatabaseCluster until told to stop."""

    def __init__(self, watched: WatchedCluster, interval: float, publish: Callable[[ClusterObservation], None]) -> None:
        super().__init__(name=f"watch-{watched.name}", daemon=True)
        self.watched = watched
        self.interval = interval
        self.publish = publish
        self.ended = threading.Event()

    def run(self) -> None:
        observer = Observer(self.watched, lambda: datetime.now(UTC))
        try:
            while not self.ended.is_set():
                self.publish(observer.look())
                # Everybody's looks at the same moment would be a load of their own.
                self.ended.wait(self.interval * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
        except Exception:
            log.exception("a watcher broke; it is started again", cluster=self.watched.name)
        finally:
            observer.close()


class Monitor:
    """All watchers of one process, and what they last saw."""

    def __init__(self, servers_file: Path) -> None:
        self.servers_file = servers_file
        self.lock = threading.Lock()
        self.watchers: dict[str, Watcher] = {}
        self.seen: dict[str, ClusterObservation] = {}
        self.loaded = False

    def refresh(self) -> None:
        """Starts and ends watchers as the list says; a list that cannot be read leaves everything as it is."""
        try:
            servers = Servers.model_validate_json(self.servers_file.read_bytes())
        except (OSError, ValidationError) as error:
            log.error("the list of servers cannot be read", file=str(self.servers_file), error=str(error))
            return
        wanted = {watched.uid: watched for watched in servers.clusters}
        for uid, watcher in list(self.watchers.items()):
            if uid not in wanted or wanted[uid] != watcher.watched or not watcher.is_alive():
                watcher.ended.set()
                del self.watchers[uid]
                with self.lock:
                    self.seen.pop(uid, None)
        for uid, watched in wanted.items():
            if uid in self.watchers:
                self.watchers[uid].interval = servers.interval_seconds
            else:
                self.watchers[uid] = Watcher(watched, servers.interval_seconds, self.publish)
                self.watchers[uid].start()
        self.loaded = True

    def publish(self, observation: ClusterObservation) -> None:
        """Keeps what a watcher saw, unless it looked with settings that are no longer the present ones."""
        watcher = self.watchers.get(observation.uid)
        if watcher is not None and watcher.watched.digest == observation.digest:
            with self.lock:
                self.seen[observation.uid] = observation

    def document(self) -> Observations:
        """Everything that was last seen."""
        with self.lock:
            return Observations(time=datetime.now(UTC), clusters=list(self.seen.values()))


def metrics(document: Observations) -> bytes:
    """The document in Prometheus's text format."""
    registry = CollectorRegistry()
    up = Gauge("pgwarden_postgres_up", "Whether the server answers.", ["cluster", "host", "port"], registry=registry)
    size = Gauge(
        "pgwarden_postgres_database_size_bytes", "Size of a database.", ["cluster", "database"], registry=registry
    )
    for cluster in document.clusters:
        for endpoint in (cluster.primary, *cluster.replicas):
            up.labels(cluster.name, endpoint.host, str(endpoint.port)).set(1 if endpoint.reachable else 0)
        for database in cluster.databases:
            size.labels(cluster.name, database.name).set(database.size_bytes)
    return generate_latest(registry)


def answer(monitor: Monitor, path: str) -> Answer | None:
    """A monitor's answer to a GET request: its document, its metrics, its probes."""
    if path == OBSERVATIONS_PATH:
        return 200, "application/json", monitor.document().model_dump_json(by_alias=True).encode()
    if path == "/metrics":
        return 200, CONTENT_TYPE_LATEST, metrics(monitor.document())
    if path == "/healthz":
        return 200, "text/plain", b"ok\n"
    if path == "/readyz":
        return 200 if monitor.loaded else 503, "text/plain", json.dumps(monitor.loaded).encode()
    return None


def main(servers_file: str = SERVERS_FILE, port: int = PORT) -> int:
    """Runs until SIGTERM or SIGINT."""
    configure("INFO")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    monitor = Monitor(Path(servers_file))
    server = serve(port, lambda path: answer(monitor, path))
    while not stop.is_set():
        monitor.refresh()
        stop.wait(LIST_SECONDS)
    server.shutdown()
    return 0
