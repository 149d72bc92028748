"""At rest the operator writes nothing; and a namespace in use can be deleted, without its database too."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.cluster import Cluster
from tests.support.place import (
    KINDS,
    Body,
    Place,
    backup,
    claim,
    condition,
    config_map,
    database_cluster,
    is_reachable,
    is_ready,
    migration,
    restore,
    store,
)
from tests.support.release import release_for
from tests.support.sample_servers import rolled_out, server_files, single_server

pytestmark = pytest.mark.timeout(900)

RESYNC_SECONDS = 10
# What nobody but the operator writes; of the rest (pods, workloads, Events) its own count of requests tells.
WRITTEN = (*KINDS, "jobs", "configmaps", "secrets", "services", "persistentvolumeclaims", "networkpolicies")
REQUESTS = re.compile(r"^pgwarden_operator_api_request_duration_seconds_count\{([^}]*)\} (\S+)$", re.MULTILINE)
RECONCILES = re.compile(r'^pgwarden_operator_reconciles_total\{kind="(\w+)",outcome="done"\} (\S+)$', re.MULTILINE)


def furnish(place: Place) -> None:
    """A server of its own, and an object of every kind that has done its work."""
    place.apply(
        server_files(),
        *single_server("modern", 18),
        claim("shelf", "1Gi"),
        config_map("one-file", {"1_a.up.sql": "CREATE TABLE a AS SELECT generate_series(1, 100) AS i"}),
        store("shelf", claim={"name": "shelf"}),
        database_cluster("modern"),
        migration("modern", "modern", "modern", "one-file"),
        backup("first", "modern", "shelf"),
        restore("again", "first", size="512Mi"),
    )


def furnished(place: Place) -> Place:
    rolled_out(place, "modern")
    place.until("databasecluster", "modern", is_reachable)
    for kind, name in (("databasemigration", "modern"), ("databasebackup", "first"), ("restorerequest", "again")):
        place.until(kind, name, is_ready)
    return place


@pytest.fixture(scope="module")
def places(cluster: Cluster, operator: str, make_place: Callable[[str], Place]) -> Iterator[tuple[Place, Place]]:
    """A namespace with an operator of its own, and one under the operator of all namespaces."""
    alone, together = make_place("alone"), make_place("together")
    furnish(together)
    settings = ("--set", f"intervals.resync={RESYNC_SECONDS}", "--set", "intervals.storeProbe=3600")
    with release_for(cluster, alone.namespace, *settings):
        furnish(alone)
        yield furnished(alone), furnished(together)


def versions(place: Place) -> dict[str, str]:
    """The resource version of every object, by its kind and name."""
    found = place.cluster.get(",".join(WRITTEN), "--namespace", place.namespace)["items"]
    named = {f"{body['kind']} {body['metadata']['name']}": body["metadata"]["resourceVersion"] for body in found}
    assert len({name.split()[0] for name in named}) >= len(WRITTEN)
    return named


def metrics(place: Place) -> str:
    """What the operator of a namespace tells of itself."""
    pod = place.list("pods", "--selector=app.kubernetes.io/component=operator")[0]["metadata"]["name"]
    path = f"/api/v1/namespaces/{place.namespace}/pods/{pod}:8080/proxy/metrics"
    return place.cluster.kubectl("get", "--raw", path).stdout


def looks(text: str) -> dict[str, float]:
    """How often the operator has looked at objects of each kind."""
    return {kind: float(count) for kind, count in RECONCILES.findall(text)}


def writes(text: str) -> float:
    """How many requests of the operator changed something, but for the Lease it renews."""
    counted = [(labels, float(count)) for labels, count in REQUESTS.findall(text)]
    assert counted
    reading = ('verb="get"', 'verb="list"', 'verb="watch"', 'resource="leases"')
    return sum(count for labels, count in counted if not any(each in labels for each in reading))


def look_around(place: Place, times: int) -> None:
    """Waits until the operator has looked at objects of every kind so many times more."""
    wanted = {kind: count + times for kind, count in looks(metrics(place)).items()}
    assert len(wanted) == len(KINDS)

    def done(_: Body) -> bool:
        now = looks(metrics(place))
        return all(now[kind] >= count for kind, count in wanted.items())

    place.until("namespace", place.namespace, done)


def test_at_rest_nothing_is_written(places: tuple[Place, Place]) -> None:
    place, _ = places
    # A database at rest does not grow either, and its size stands in the status.
    calm = "ALTER SYSTEM SET autovacuum = off; SELECT pg_reload_conf()"
    place.ask("modern-0", calm)
    place.ask("again-0", calm, password=place.secret("again-superuser")["password"])
    before, told = versions(place), metrics(place)
    for _ in range(10):
        look_around(place, 1)
        still = before == versions(place) and writes(told) == writes(metrics(place))
        before, told = versions(place), metrics(place)
        if still:
            break
    look_around(place, 2)
    assert versions(place) == before
    assert writes(metrics(place)) == writes(told)


def use(place: Place) -> None:
    """A backup is under way and somebody is connected to the restored instance; then the database is lost."""
    place.apply(backup("slow", "modern", "shelf", maxRateKiB=64))
    place.until("databasebackup", "slow", lambda body: condition(body, "Ready").get("reason") == "BackingUp")
    password = place.secret("again-superuser")["password"]
    connected = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(%' AND pid <> pg_backend_pid()"
    in_background = "(psql -XAtq -h 127.0.0.1 -U postgres -c 'SELECT pg_sleep(600)' >/dev/null 2>&1 &)"
    script = f"read -r PGPASSWORD; export PGPASSWORD; {in_background}"
    place.kubectl("exec", "-i", "again-0", "-c", "postgres", "--", "sh", "-c", script, text=f"{password}\n")
    place.until("pod", "again-0", lambda _: place.ask("again-0", connected, password=password) == "1")
    place.kubectl("delete", "statefulset", "modern", "--wait=false")
    place.kubectl("delete", "pod", "modern-0", "--grace-period=0", "--force")
    place.kubectl("delete", "persistentvolumeclaim", "data-modern-0", "--wait=false")


def departs(place: Place) -> float:
    """Seconds until the namespace is gone."""
    began = time.monotonic()
    place.cluster.kubectl("delete", "namespace", place.namespace, "--timeout=120s")
    return time.monotonic() - began


def test_a_namespace_in_use_goes_within_a_minute_with_and_without_an_operator(places: tuple[Place, Place]) -> None:
    alone, together = places
    use(together)
    use(alone)
    alone.cluster.helm("uninstall", "pgwarden", "-n", alone.namespace, "--wait")
    assert departs(together) < 60
    assert departs(alone) < 60
