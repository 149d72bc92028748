"""What the main job leaves in the cluster, and what it never does: secrets, tokens, finalizers, early clean-up."""

from __future__ import annotations

import base64

import pytest

from tests.support.cluster import Cluster
from tests.support.history import History, version_of
from tests.support.place import KINDS, Body, Place, condition

pytestmark = pytest.mark.timeout(600)

OURS = "app.kubernetes.io/managed-by=pgwarden"
# Everything a person with `kubectl get` can see; Secrets are where secrets belong.
VISIBLE = (
    *KINDS,
    *("jobs", "pods", "configmaps", "services", "statefulsets", "deployments", "persistentvolumeclaims"),
    *("networkpolicies", "events", "endpointslices", "controllerrevisions", "replicasets", "serviceaccounts"),
)


def logs(place: Place, pod: str, selector: str = "") -> str:
    """The logs of all containers of a pod, or of all pods with a label."""
    which = [pod] if pod else [f"--selector={selector}"]
    return place.kubectl("logs", *which, "--all-containers", "--tail=-1", "--prefix", check=False)


def test_no_secret_shows_in_objects_events_and_logs(
    platform: Place, restored: dict[str, Body], hidden: set[str], operator: str
) -> None:
    seen = {kind: platform.kubectl("get", kind, "--output=json", "--show-managed-fields") for kind in VISIBLE}
    for pod in platform.list("pods"):
        name = pod["metadata"]["name"]
        seen[f"log of {name}"] = logs(platform, name)
    above = Place(platform.cluster, operator)
    seen["log of the operator"] = logs(above, "", "app.kubernetes.io/component=operator")
    assert "restorerequests" in seen and len(hidden) >= 15
    assert any("backup" in text for name, text in seen.items() if name.startswith("log of"))
    for each in hidden:
        encoded = base64.b64encode(each.encode()).decode()
        found = [where for where, text in seen.items() if each in text or encoded in text]
        assert not found, f"a secret shows in {found}"


def test_no_secret_reaches_a_pod_but_as_a_file(history: History, restored: dict[str, Body]) -> None:
    pods = [pod for pod in history.all("pods") if ours(pod)]
    assert pods
    for pod in pods:
        for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]:
            for entry in container.get("env", []):
                assert "valueFrom" not in entry, (container["name"], entry)
            assert "envFrom" not in container


def ours(pod: Body) -> bool:
    return bool(pod["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "pgwarden")


def test_no_pod_of_ours_has_a_token_of_the_api(history: History, restored: dict[str, Body]) -> None:
    pods = [pod for pod in history.all("pods") if ours(pod)]
    operations = {pod["metadata"]["labels"].get("pgwarden.dev/operation") for pod in pods}
    assert operations >= {"migrate", "backup", "restore", "probe-store"}
    for pod in pods:
        assert pod["spec"]["automountServiceAccountToken"] is False
        for volume in pod["spec"]["volumes"]:
            sources = volume.get("projected", {}).get("sources", [])
            assert not [source for source in sources if "serviceAccountToken" in source]


def test_every_pod_passes_pod_security_restricted(
    cluster: Cluster, platform: Place, restored: dict[str, Body], operator: str
) -> None:
    level = platform.cluster.get("namespace", platform.namespace)["metadata"]["labels"]
    assert level["pod-security.kubernetes.io/enforce"] == "restricted"
    assert not [event for event in platform.list("events") if "violates PodSecurity" in event.get("message", "")]
    label = ["label", "--overwrite", "--dry-run=server", "namespace", operator]
    warned = cluster.kubectl(*label, "pod-security.kubernetes.io/enforce=restricted").stderr
    assert "violate" not in warned, warned


def test_nothing_has_a_finalizer_of_ours(platform: Place, restored: dict[str, Body]) -> None:
    for kind in KINDS:
        items = platform.list(kind)
        assert items
        for body in items:
            assert "finalizers" not in body["metadata"], body["metadata"]
    foreign = {"batch.kubernetes.io/job-tracking", "kubernetes.io/pvc-protection", "foregroundDeletion"}
    for kind in ("jobs", "pods", "services", "secrets", "statefulsets", "persistentvolumeclaims", "networkpolicies"):
        for body in platform.list(kind):
            assert set(body["metadata"].get("finalizers", [])) <= foreign, body["metadata"]


def tells_its_result(body: Body) -> bool:
    """Whether the status holds what the Job came to; a restore's instance starts only after that."""
    return condition(body, "Ready").get("status") == "True" or "restoredTo" in body.get("status", {})


def test_a_job_gets_its_time_to_live_only_after_its_result_stands_in_the_status(
    history: History, restored: dict[str, Body], backups: dict[str, Body]
) -> None:
    objects = [("databasebackups", name) for name in backups] + [("restorerequests", name) for name in restored]
    objects += [("databasemigrations", "operational"), ("databasemigrations", "analytics")]
    for kind, name in objects:
        versions = history.versions(kind, name)
        told = next(version_of(body) for body in versions if tells_its_result(body))
        uid = versions[0]["metadata"]["uid"]
        jobs = [job for job in history.all("jobs") if job["metadata"]["labels"].get("pgwarden.dev/owner-uid") == uid]
        assert jobs
        assert "ttlSecondsAfterFinished" not in jobs[0]["spec"]
        mortal = [version_of(job) for job in jobs if "ttlSecondsAfterFinished" in job["spec"]]
        assert mortal and min(mortal) > told, (kind, name)
