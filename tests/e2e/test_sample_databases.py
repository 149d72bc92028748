"""The sample databases are what a platform has: a primary with a standby, and a single instance, under `restricted`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster

PODS = ("operational-0", "operational-1", "analytics-0")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def databases(cluster: Cluster) -> Iterator[str]:
    """The namespace in which both run and are ready."""
    with cluster.namespace(f"test-databases-{secrets.token_hex(3)}") as namespace:
        cluster.kubectl("apply", "-n", namespace, "-k", "manifests/samples/databases")
        rolled_out(cluster, namespace)
        yield namespace


def rolled_out(cluster: Cluster, namespace: str) -> None:
    for name in ("operational", "analytics"):
        cluster.kubectl("rollout", "status", f"statefulset/{name}", "-n", namespace, "--timeout=180s")


def ask(cluster: Cluster, namespace: str, pod: str, query: str, database: str = "postgres") -> str:
    """The answer of the superuser's psql in the pod."""
    psql = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--dbname", database]
    return cluster.kubectl("exec", "-n", namespace, pod, "--", *psql, "--command", query).stdout.strip()


def connect(cluster: Cluster, namespace: str, role: str, host: str, database: str, query: str) -> str:
    """The answer to a role that comes over the network with the password of its Secret, from analytics-0."""
    secret = cluster.kubectl("get", "secret", role, "-n", namespace, "-o", "jsonpath={.data.username} {.data.password}")
    script = (
        'read -r user word && PGPASSWORD=$(echo "$word" | base64 -d) exec psql -XAt'
        f' -d "host={host} user=$(echo "$user" | base64 -d) dbname={database}" -c "$0"'
    )
    command = ["exec", "-i", "-n", namespace, "analytics-0", "--", "sh", "-c", script, query]
    return cluster.kubectl(*command, text=secret.stdout + "\n").stdout.strip()


def test_the_standby_streams_from_the_primary_and_each_service_leads_to_its_server(
    cluster: Cluster, databases: str
) -> None:
    replication = "SELECT application_name || ' ' || state FROM pg_stat_replication"
    cluster.wait(
        lambda: ask(cluster, databases, "operational-0", replication) == "operational-1 streaming", "replication"
    )
    for host, standby in (("operational-primary", "f"), ("operational-replica", "t"), ("analytics-primary", "f")):
        name = host.partition("-")[0]
        answer = connect(cluster, databases, f"{name}-monitor", host, name, "SELECT pg_is_in_recovery()")
        assert answer == standby


@pytest.mark.parametrize("name", ["operational", "analytics"])
def test_each_role_has_what_its_work_needs_and_no_more(cluster: Cluster, databases: str, name: str) -> None:
    host = f"{name}-primary"
    owner = "SELECT current_user, pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert connect(cluster, databases, f"{name}-migration", host, name, owner) == (
        "pgwarden_migration|pgwarden_migration"
    )
    reads = "SELECT pg_has_role('pg_monitor', 'member')"
    assert connect(cluster, databases, f"{name}-monitor", host, name, reads) == "t"
    replicates = "SELECT rolreplication, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    assert connect(cluster, databases, f"{name}-backup", host, name, replicates) == "t|f|f"
    assert connect(cluster, databases, f"{name}-migration", host, name, replicates) == "f|f|f"


def test_data_and_standby_survive_the_death_of_every_pod(cluster: Cluster, databases: str) -> None:
    write = "CREATE TABLE kept AS SELECT generate_series(1, 100) AS number"
    ask(cluster, databases, "operational-0", write, "operational")
    ask(cluster, databases, "analytics-0", write, "analytics")
    cluster.kubectl("delete", "pod", *PODS, "-n", databases, "--grace-period=0", "--force")
    rolled_out(cluster, databases)
    count = "SELECT count(*) FROM kept"
    assert ask(cluster, databases, "operational-0", count, "operational") == "100"
    assert ask(cluster, databases, "analytics-0", count, "analytics") == "100"
    more = "INSERT INTO kept VALUES (101)"
    ask(cluster, databases, "operational-0", more, "operational")
    cluster.wait(
        lambda: ask(cluster, databases, "operational-1", count, "operational") == "101", "the standby to follow"
    )


def test_no_password_stands_in_a_log_or_an_argument(cluster: Cluster, databases: str) -> None:
    for pod in PODS:
        name = pod.partition("-")[0]
        seen = cluster.kubectl("logs", pod, "-n", databases).stdout
        seen += cluster.kubectl("exec", pod, "-n", databases, "--", "sh", "-c", "cat /proc/[0-9]*/cmdline").stdout
        assert seen
        for role in ("superuser", "monitor", "backup", "migration"):
            assert f"sample-{name}-{role}" not in seen
