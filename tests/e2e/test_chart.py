"""The chart as people install it: again, elsewhere, newer, back, and away."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from hack.generate.rbac import roles_for_people
from pgwarden.kube.types import OWN_KINDS
from tests.support.cluster import Cluster

CRDS = [f"customresourcedefinition/{kind.INFO.plural}.pgwarden.dev" for kind in OWN_KINDS]
SHARED = [*CRDS, *(f"clusterrole/{role['metadata']['name']}" for role in roles_for_people())]
OWNER = ("meta.helm.sh/release-name", "meta.helm.sh/release-namespace")
TAKE_OVER = ("--take-ownership", "--set", "crds.adopt=true")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def shared_objects(cluster: Cluster) -> Iterator[None]:
    """What a cluster has only once is handed from release to release here, and afterwards back to whose it was."""
    before = owners(cluster)
    yield
    for item in shared(cluster):
        name, metadata = item["metadata"]["name"], item["metadata"]
        if name not in before:
            cluster.kubectl("delete", item["kind"], name, "--timeout=60s")
        elif before[name] != owner(item):
            kept = {key: value for key, value in metadata.get("annotations", {}).items() if key not in OWNER}
            item["metadata"] = {"name": name, "labels": metadata["labels"], "annotations": kept | before[name]}
            item.pop("status", None)
            # As Helm does it: a field that anybody else had set would be a conflict for the release it goes back to.
            cluster.apply(item, "--field-manager=helm", "--force-conflicts")


def shared(cluster: Cluster) -> list[dict[str, Any]]:
    """The objects as they are now; those that are not there are left out."""
    found = cluster.kubectl("get", *SHARED, "--ignore-not-found", "--output=yaml").stdout
    items: list[dict[str, Any]] = (yaml.safe_load(found) or {}).get("items", [])
    return items


def owners(cluster: Cluster) -> dict[str, dict[str, str]]:
    return {item["metadata"]["name"]: owner(item) for item in shared(cluster)}


def owner(item: dict[str, Any]) -> dict[str, str]:
    """The annotations by which Helm knows whose an object is."""
    return {key: value for key, value in item["metadata"].get("annotations", {}).items() if key in OWNER}


def install(cluster: Cluster, namespace: str, *arguments: str, verb: str = "install") -> None:
    """A release that looks after its own namespace only, so that it gets in nobody's way."""
    cluster.helm(*command(verb, namespace), *arguments)


def command(verb: str, namespace: str) -> list[str]:
    values = ["--values", "hack/values-dev.yaml", "--set", f"watch.namespaces={{{namespace}}}"]
    return [verb, "pgwarden", "charts/pgwarden", "--namespace", namespace, *values, "--wait", "--timeout", "120s"]


def refused(cluster: Cluster, namespace: str, *arguments: str) -> str:
    """What Helm says when it refuses an installation."""
    done = cluster.helm(*command("install", namespace), *arguments, check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr


def configuration(cluster: Cluster, namespace: str) -> str:
    return str(cluster.get("configmap", "pgwarden", "-n", namespace)["data"]["operator.yaml"])


def pods(cluster: Cluster, namespace: str) -> set[str]:
    selector = "--selector=app.kubernetes.io/component=operator"
    items = cluster.get("pods", selector, "-n", namespace)["items"]
    return {item["metadata"]["uid"] for item in items if "deletionTimestamp" not in item["metadata"]}


@pytest.fixture(scope="module")
def release(cluster: Cluster, shared_objects: None) -> Iterator[str]:
    """The namespace of a release that tests look at without changing it."""
    with cluster.namespace(f"test-release-{secrets.token_hex(3)}") as namespace:
        install(cluster, namespace, *TAKE_OVER)
        yield namespace


def test_an_installed_operator_is_ready_and_passes_helm_test(cluster: Cluster, release: str) -> None:
    assert cluster.get("deployment", "pgwarden", "-n", release)["status"]["readyReplicas"] == 2
    tested = cluster.helm("test", "pgwarden", "-n", release, "--logs", "--timeout", "120s").stdout
    assert f"a ready operator answers, and all {len(OWN_KINDS)} kinds are served" in tested


def test_one_of_two_replicas_holds_the_lease(cluster: Cluster, release: str) -> None:
    cluster.wait(
        lambda: bool(cluster.get("lease", "pgwarden", "-n", release)["spec"].get("holderIdentity")),
        "a holder of the Lease",
    )
    names = {item["metadata"]["name"] for item in cluster.get("pods", "-n", release)["items"]}
    holder = cluster.get("lease", "pgwarden", "-n", release)["spec"]["holderIdentity"]
    assert [name for name in names if holder.startswith(name)]


def test_people_who_edit_may_back_up_and_only_restorers_may_restore(
    cluster: Cluster, release: str, namespace: str
) -> None:
    for user, role in (("viewer", "view"), ("editor", "edit"), ("restorer", "pgwarden-restorer")):
        cluster.kubectl("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}", "-n", namespace)

    def may(user: str, verb: str, plural: str) -> bool:
        asked = ["auth", "can-i", verb, f"{plural}.pgwarden.dev", f"--as={user}", "-n", namespace]
        return cluster.kubectl(*asked, check=False).stdout.strip() == "yes"

    # Kubernetes' controller adds our rules to the roles view and edit a moment after it sees ours.
    cluster.wait(lambda: may("viewer", "list", "databasebackups"), "the aggregation of pgwarden-view")
    cluster.wait(lambda: may("editor", "create", "databasebackups"), "the aggregation of pgwarden-edit")
    assert not may("viewer", "create", "databasebackups")
    assert not may("editor", "create", "restorerequests")
    assert not may("editor", "patch", "restorerequests")
    assert may("editor", "get", "restorerequests")
    assert may("restorer", "create", "restorerequests")
    assert not may("restorer", "create", "databasebackups")


def test_a_second_release_is_told_what_to_do_and_works_without_the_kinds(
    cluster: Cluster, make_namespace: Callable[[str], str]
) -> None:
    first, second = make_namespace("first"), make_namespace("second")
    install(cluster, first, *TAKE_OVER)
    told = refused(cluster, second)
    assert f"belong to Helm release pgwarden in namespace {first}" in told
    assert "--set crds.enabled=false" in told
    install(cluster, second, "--set", "crds.enabled=false")
    cluster.helm("test", "pgwarden", "-n", second, "--timeout", "120s")


def test_kinds_and_objects_outlive_a_release_and_a_reinstall_elsewhere_takes_them_over(
    cluster: Cluster, make_namespace: Callable[[str], str]
) -> None:
    first, second = make_namespace("first"), make_namespace("second")
    install(cluster, first, *TAKE_OVER)
    cluster.apply(
        {
            "apiVersion": "pgwarden.dev/v1alpha1",
            "kind": "DatabaseCluster",
            "metadata": {"name": "kept"},
            "spec": {
                "primary": {"host": "nowhere"},
                "credentials": {"monitor": {"secretName": "none"}},
                "suspend": True,
            },
        },
        "-n",
        first,
    )
    cluster.helm("uninstall", "pgwarden", "-n", first, "--wait")
    assert cluster.get("databasecluster", "kept", "-n", first)["spec"]["primary"]["host"] == "nowhere"
    assert f"belong to Helm release pgwarden in namespace {first}" in refused(cluster, second)
    install(cluster, second, *TAKE_OVER)
    assert owners(cluster)["databaseclusters.pgwarden.dev"]["meta.helm.sh/release-namespace"] == second
    assert cluster.get("databasecluster", "kept", "-n", first)["metadata"]["name"] == "kept"


def test_an_upgrade_restarts_the_operator_with_the_new_values_and_a_rollback_brings_the_old_back(
    cluster: Cluster, namespace: str
) -> None:
    install(cluster, namespace, "--set", "limits.jobsTotal=7", *TAKE_OVER)
    before = pods(cluster, namespace)
    install(cluster, namespace, "--set", "limits.jobsTotal=9", "--set", "crds.adopt=true", verb="upgrade")
    assert "jobsTotal: 9" in configuration(cluster, namespace)
    cluster.wait(lambda: before.isdisjoint(pods(cluster, namespace)), "new pods after the upgrade")
    cluster.helm("rollback", "pgwarden", "1", "-n", namespace, "--wait", "--timeout", "120s")
    assert "jobsTotal: 7" in configuration(cluster, namespace)


def test_the_kinds_can_come_from_their_own_chart(cluster: Cluster, make_namespace: Callable[[str], str]) -> None:
    kinds, operator = make_namespace("kinds"), make_namespace("operator")
    cluster.helm("install", "pgwarden-crds", "charts/pgwarden-crds", "-n", kinds, "--take-ownership", "--wait")
    install(cluster, operator, "--set", "crds.enabled=false")
    cluster.helm("test", "pgwarden", "-n", operator, "--timeout", "120s")
    cluster.helm("uninstall", "pgwarden-crds", "-n", kinds, "--wait")
    cluster.kubectl("get", *CRDS)


def test_the_namespace_of_a_release_can_be_deleted_at_once(cluster: Cluster, namespace: str) -> None:
    install(cluster, namespace, *TAKE_OVER)
    cluster.kubectl("delete", "namespace", namespace, "--timeout=60s")
