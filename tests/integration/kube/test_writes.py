"""Reads and writes against a real API server: pages, and statuses that never land on what they were not made for."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from kubernetes.aio.config import kube_config

from pgwarden.api.conditions import ready
from pgwarden.jobs.plan import Plan
from pgwarden.kube import client as client_module
from pgwarden.kube.client import KubeClient, KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key
from pgwarden.kube.refresh import Refresher
from pgwarden.kube.types import BACKUP_STORES, JOBS
from pgwarden.kube.work import write_status
from pgwarden.stores.handlers import StoreController
from pgwarden.stores.resource import BackupStore
from tests.support.cluster import Cluster
from tests.support.context import operator_context
from tests.support.manifests import Manifest


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace(f"test-kube-{secrets.token_hex(3)}") as name:
        yield name


@pytest.fixture
async def context(cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OperatorContext]:
    # The official client looks for its file when it is imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", cluster.environment["KUBECONFIG"])
    made = operator_context(namespaces=[namespace])
    made.client = await KubeClient.connect(requests_per_second=100)
    made.controllers = [StoreController(made)]
    yield made
    await made.client.close()


def suspended_job(name: str) -> Manifest:
    container = {"name": "c", "image": "none"}
    spec = {"restartPolicy": "Never", "containers": [container]}
    labels = {"app.kubernetes.io/managed-by": "pgwarden"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {"suspend": True, "template": {"spec": spec}},
    }


async def test_a_list_is_read_in_pages(
    context: OperatorContext, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await context.client.create(JOBS, namespace, suspended_job(f"job-{number}"))
    monkeypatch.setattr(client_module, "PAGE", 2)
    bodies, moment = await context.client.snapshot(JOBS, namespace)
    assert sorted(body["metadata"]["name"] for body in bodies) == [f"job-{number}" for number in range(5)]
    assert int(moment) >= max(int(body["metadata"]["resourceVersion"]) for body in bodies)


async def test_a_job_that_went_while_nobody_watched_is_dropped(context: OperatorContext, namespace: str) -> None:
    for name in ("stays", "goes"):
        made = await context.client.create(JOBS, namespace, suspended_job(name))
        context.cache.put(Key("Job", namespace, name), made)
    await context.client.delete(JOBS, namespace, "goes")
    context.controllers = []
    await Refresher(context).refresh()
    assert [key.name for key in context.cache.keys("Job")] == ["stays"]


@pytest.fixture
async def store(context: OperatorContext, namespace: str, cluster: Cluster, kinds: None) -> dict[str, Any]:
    """A suspended BackupStore; an operator that is installed may write its status too."""
    cluster.kubectl("apply", "-n", namespace, "-f", "-", text=STORE)
    body = await context.client.get(BACKUP_STORES, namespace, "claims")
    assert body is not None
    return body


STORE = """
apiVersion: pgwarden.dev/v1alpha1
kind: BackupStore
metadata: {name: claims}
spec: {suspend: true, claim: {name: backups}}
"""


def plan_of(body: dict[str, Any], location: str) -> tuple[BackupStore, Plan]:
    store = BackupStore.of(body)
    status = store.status.model_copy(update={"location": location})
    return store, Plan(status=status, judgments=ready("Suspended"))


async def test_a_status_made_for_an_older_version_is_not_written_and_the_object_is_looked_at_again(
    context: OperatorContext, namespace: str, store: dict[str, Any]
) -> None:
    key = Key("BackupStore", namespace, "claims")
    stale = {**store, "metadata": {**store["metadata"], "resourceVersion": "1"}}
    read, plan = plan_of(stale, "from another time")
    await write_status(context, BACKUP_STORES, stale, read.status, plan)
    now = await context.client.get(BACKUP_STORES, namespace, "claims")
    assert now is not None
    assert (now.get("status") or {}).get("location") != "from another time"
    assert key in context.queue._waiting
    assert context.cache.get(key) is not None


async def test_a_status_never_lands_on_another_object_of_the_same_name(
    context: OperatorContext, namespace: str, store: dict[str, Any], cluster: Cluster
) -> None:
    cluster.kubectl("delete", "-n", namespace, "backupstore", "claims")
    cluster.kubectl("apply", "-n", namespace, "-f", "-", text=STORE)
    read, plan = plan_of(store, "of the one before")
    await write_status(context, BACKUP_STORES, store, read.status, plan)
    now = await context.client.get(BACKUP_STORES, namespace, "claims")
    assert now is not None
    assert now["metadata"]["uid"] != store["metadata"]["uid"]
    assert (now.get("status") or {}).get("location") != "of the one before"


async def test_a_status_of_an_object_that_is_gone_is_no_failure(
    context: OperatorContext, namespace: str, store: dict[str, Any], cluster: Cluster
) -> None:
    cluster.kubectl("delete", "-n", namespace, "backupstore", "claims")
    read, plan = plan_of(store, "of nobody")
    await write_status(context, BACKUP_STORES, store, read.status, plan)
    assert context.cache.get(Key("BackupStore", namespace, "claims")) is None


async def test_an_api_server_that_is_not_there_is_told_as_passing(context: OperatorContext) -> None:
    context.client.configuration.host = "https://127.0.0.1:1"
    with pytest.raises(KubeError) as refused:
        await context.client.get(JOBS, "default", "x")
    assert refused.value.passing
