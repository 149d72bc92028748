"""The roles that the chart gives the operator are enough for all it does, and it uses all they give."""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Iterator

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pgwarden.kube.types import ALL, OWN_KINDS
from tests.support.cluster import Cluster
from tests.support.workplace import LABEL, OWNER, SMALL_JOBS, Workplace

pytestmark = pytest.mark.timeout(900)

Use = tuple[str, str]
"""(verb, plural) of a request."""

WATCHED = {kind.INFO.plural for kind in OWN_KINDS} | {"jobs", "pods"}
ASKED_AFTER_A_CONFLICT = {("get", plural) for plural in (*(kind.INFO.plural for kind in OWN_KINDS), "networkpolicies")}
"""Needed when somebody else was quicker: a status that was written in between, an object that is there already."""
TRIED_ELSEWHERE = {("delete", "restorerequests"), ("patch", "pods")}
"""By tests/e2e/policies/test_restore_drills.py: the last few drills are kept, the others cleared away; and by
tests/e2e/restores/test_copy_looked_at.py: a pod is told that its copy was the right one."""


@pytest.fixture
def second(cluster: Cluster, ours: str) -> Iterator[str]:
    """Another namespace that the operator watches."""
    with cluster.namespace(f"test-second-{secrets.token_hex(3)}") as namespace:
        cluster.kubectl("label", "namespace", namespace, f"{LABEL}={ours}")
        yield namespace


@pytest.fixture
def installed(cluster: Cluster, workplace: Workplace, second: str) -> Iterator[Workplace]:
    """The workplace, with an operator in it that a chart installed for two namespaces."""
    settings = [
        "crds.enabled=false",
        f"watch.namespaces={{{workplace.namespace},{second}}}",
        "operator.replicas=1",
        "operator.resources.requests.cpu=10m",
        "operator.podDisruptionBudget.enabled=false",
        # What restores in place may do beside is tried by tests/e2e/restores.
        "restore.inPlace.enabled=false",
        "intervals.monitor=2",
    ]
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    release = ["pgwarden", "--namespace", workplace.namespace]
    values = ["--values", "hack/values-dev.yaml", "--wait", "--timeout", "120s"]
    cluster.helm("install", *release, "charts/pgwarden", *values, *arguments)
    yield workplace
    cluster.helm("uninstall", *release, "--wait")


def operator_pod(workplace: Workplace) -> tuple[str, str]:
    """(name, address) of the operator's pod."""
    found = json.loads(workplace.kubectl("get", "pods", "-l", "app.kubernetes.io/component=operator", "--output=json"))[
        "items"
    ]
    return found[0]["metadata"]["name"], found[0]["status"]["podIP"]


def used(workplace: Workplace) -> set[Use]:
    """What the operator has asked the API server for so far, by its own count."""
    _, address = operator_pod(workplace)
    with urllib.request.urlopen(f"http://{address}:8080/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.labels["verb"], sample.labels["resource"])
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "pgwarden_operator_api_request_duration_seconds_count" and sample.value > 0
    }


def granted() -> set[Use]:
    """What the table of types, of which the chart's roles are made, lists; a subresource counts as its resource. Not
    what goes with the chart's admission policy, which is not installed here."""
    types = [type_ for type_ in ALL if not type_.admission_only]
    uses = {(verb, type_.plural) for type_ in types for verb in type_.verbs}
    return uses | {(verb, type_.plural) for type_ in types for _, verbs in type_.subresources for verb in verbs}


def main_job(workplace: Workplace, backed_up: str) -> None:
    """A migration, a backup long enough to tell of its progress, one that loses its Job and is cancelled, a restore."""
    workplace.migrate("permitted", "CREATE TABLE once (id int)")
    workplace.back_up("permitted", maxRateKiB=2048)
    workplace.restore("permitted", backed_up)
    workplace.make("BackupStore", "permitted", {"claim": {"name": "backups"}, **SMALL_JOBS})
    for kind in ("DatabaseMigration", "RestoreRequest", "BackupStore", "DatabaseBackup"):
        workplace.wait_ready(kind, "permitted")
    uid = workplace.back_up("cancelled", maxRateKiB=1024)
    workplace.wait(lambda: bool(workplace.owned("Job", uid)), "the Job to delete")
    workplace.kubectl("delete", "job", "-l", f"{OWNER}={uid}")
    workplace.wait(lambda: bool(workplace.owned("Job", uid)), "the Job to cancel")
    workplace.kubectl("patch", "databasebackup", "cancelled", "--type=merge", '--patch={"spec":{"cancel":true}}')
    workplace.wait(lambda: not workplace.owned("Job", uid), "the cancelled Job to go")


def policy_takes_and_clears_away(workplace: Workplace) -> None:
    """A policy that takes a full at once, and an incremental each minute whose object has no place in the history."""
    spec = {
        "clusterRef": {"name": "analytics"},
        "storeRef": {"name": "claim"},
        "schedules": {"full": {"schedule": "0 0 1 1 *"}, "incremental": {"schedule": "* * * * *"}},
        "historyLimit": 0,
        "failedHistoryDays": 0,
        **SMALL_JOBS,
    }
    workplace.make("BackupPolicy", "permitted", spec)
    workplace.wait(lambda: ("delete", "databasebackups") in used(workplace), "an object of a backup to be cleared away")
    workplace.kubectl("delete", "backuppolicy", "permitted")


def forbidden_pod(workplace: Workplace) -> None:
    """A Job that gets no pod: Events tell why."""
    workplace.kubectl("create", "quota", "none", "--hard=pods=0")
    workplace.make("BackupStore", "forbidden", {"claim": {"name": "backups"}, **SMALL_JOBS})
    workplace.wait(
        lambda: "quota" in workplace.condition("BackupStore", "forbidden").get("message", ""), "word of the quota"
    )
    workplace.kubectl("delete", "backupstore", "forbidden")
    workplace.kubectl("delete", "quota", "none")


def monitor_comes_and_goes(workplace: Workplace, namespace: str) -> None:
    """The monitor of a namespace whose only DatabaseCluster is deleted again."""
    body = {
        "apiVersion": "pgwarden.dev/v1alpha1",
        "kind": "DatabaseCluster",
        "metadata": {"name": "brief"},
        "spec": {"primary": {"host": "nowhere"}, "credentials": {"monitor": {"secretName": "none"}}},
    }
    cluster = workplace.cluster
    cluster.apply(body, "-n", namespace)
    deployments = ["get", "deployments,services", "-n", namespace, "--output=name"]
    workplace.wait(lambda: len(cluster.kubectl(*deployments).stdout.split()) == 2, "the monitor to be made")
    # Orphaned, so that garbage collection is not quicker than the operator.
    cluster.kubectl("delete", "databasecluster", "brief", "-n", namespace, "--cascade=orphan")
    workplace.wait(lambda: not cluster.kubectl(*deployments).stdout.split(), "the operator to remove the monitor")


def test_the_charts_roles_are_enough_and_not_more(installed: Workplace, second: str, backed_up: str) -> None:
    main_job(installed, backed_up)
    policy_takes_and_clears_away(installed)
    forbidden_pod(installed)
    monitor_comes_and_goes(installed, second)
    name, _ = operator_pod(installed)
    log = installed.kubectl("logs", name)
    assert "is forbidden: User" not in log, [line for line in log.splitlines() if "is forbidden: User" in line]
    seen = used(installed)
    # Server-side apply needs the verb create as well, where the object is not there yet.
    seen |= {("create", plural) for verb, plural in seen if verb == "patch" and ("create", plural) in granted()}
    # Kopf watches by itself.
    seen |= {("watch", plural) for plural in WATCHED}
    assert granted() - seen - ASKED_AFTER_A_CONFLICT - TRIED_ELSEWHERE == set()


def test_the_installed_roles_are_those_of_the_table(installed: Workplace) -> None:
    rules = yaml.safe_load(installed.kubectl("get", "role", "-l", "app.kubernetes.io/instance=pgwarden", "-o", "yaml"))
    given = {
        (verb, plural.partition("/")[0])
        for role in rules["items"]
        for rule in role["rules"]
        for verb in rule["verbs"]
        for plural in rule["resources"]
    }
    assert given == granted()
