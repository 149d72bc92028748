"""Which servers can be stopped for a restore in place, and where their data lie: each refusal says what to change."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pgwarden.clusters.access import Obstacle
from pgwarden.clusters.resource import DependentKind
from pgwarden.restores.fence import Home, claims_beyond, fence, home, member_count, owned, pods_on_claims
from pgwarden.restores.stopping import Workload, stop
from tests.support.objects import Body, cluster

MOUNT = {"name": "data", "mountPath": "/data"}


def stateful_set(**changes: Any) -> Body:
    """A StatefulSet of one member, as a person applied it."""
    container = {"name": "postgres", "env": [{"name": "PGDATA", "value": "/data/pgdata"}], "volumeMounts": [MOUNT]}
    found: Body = {
        "kind": "StatefulSet",
        "metadata": {
            "name": "operational",
            "managedFields": [
                {"manager": "kubectl-client-side-apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "kube-controller-manager", "fieldsV1": {"f:status": {"f:replicas": {}}}},
            ],
        },
        "spec": {
            "replicas": 1,
            "template": {"spec": {"containers": [container]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        },
    }
    found["spec"] |= changes
    return found


def managed_by(manager: str, **more: Any) -> Body:
    body = stateful_set()
    body["metadata"]["managedFields"].append({"manager": manager, "fieldsV1": {"f:spec": {"f:replicas": {}}}, **more})
    return body


def with_container(**changes: Any) -> Body:
    body = copy.deepcopy(stateful_set())
    body["spec"]["template"]["spec"]["containers"][0] |= changes
    return body


def on_one_claim() -> Body:
    """A StatefulSet whose volume is no template, but a claim that somebody made."""
    body = stateful_set(volumeClaimTemplates=[])
    body["spec"]["template"]["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "by-hand"}}]
    return body


OPERATIONAL = cluster(workloadRef={"name": "operational"})
SCALER = {
    "metadata": {"name": "scaler"},
    "spec": {"scaleTargetRef": {"kind": "StatefulSet", "name": "operational"}},
}
OWNED = stateful_set()
OWNED["metadata"] = {"name": "operational", "ownerReferences": [{"kind": "Cluster", "name": "pg", "controller": True}]}


def test_a_single_member_that_people_look_after_may_be_stopped() -> None:
    assert fence(OPERATIONAL, stateful_set(), []) is None
    elsewhere = {"metadata": {"name": "s"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "operational"}}}
    assert fence(OPERATIONAL, stateful_set(replicas=0), [elsewhere]) is None


@pytest.mark.parametrize(
    ("workload", "scalers", "reason", "says"),
    [
        (None, [], "WorkloadNotFound", "no StatefulSet operational"),
        (OWNED, [], "ForeignOperator", "belongs to Cluster pg"),
        (managed_by("argocd-controller"), [], "ReplicasOwned", "jsonPointers: [/spec/replicas]"),
        (managed_by("kustomize-controller"), [], "ReplicasOwned", "flux suspend kustomization"),
        (managed_by("helm-controller"), [], "ReplicasOwned", "flux suspend helmrelease"),
        (managed_by("keda-operator", subresource="scale"), [], "ReplicasOwned", "autoscaling.keda.sh/paused"),
        (managed_by("acme-database-operator"), [], "ReplicasOwned", "have it leave replicas alone"),
        (stateful_set(), [SCALER], "ReplicasOwned", "HorizontalPodAutoscaler scaler"),
        (
            stateful_set(persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"}),
            [],
            "ClaimsDeletedWhenScaled",
            "set whenScaled to Retain",
        ),
    ],
)
def test_a_server_that_would_be_started_again_or_lose_its_data_is_refused(
    workload: Body | None, scalers: list[Body], reason: str, says: str
) -> None:
    refused = fence(OPERATIONAL, workload, scalers)
    assert refused is not None
    assert refused.reason == reason
    assert says in refused.message


@pytest.mark.parametrize("workload", [OWNED, managed_by("argocd-controller")])
def test_a_refusal_offers_a_new_instance(workload: Body) -> None:
    refused = fence(OPERATIONAL, workload, [])
    assert refused is not None
    assert "target.newInstance" in refused.message


def test_a_cluster_without_a_workload_is_refused() -> None:
    refused = fence(cluster(), None, [])
    assert refused is not None
    assert refused.reason == "WorkloadUnknown"


def test_a_person_who_scales_does_so_once() -> None:
    for manager in ("kubectl", "kubectl-scale", "helm", "k9s", "pgwarden", "kube-controller-manager"):
        assert owned(managed_by(manager)) is None


def test_the_data_are_where_the_container_has_them() -> None:
    assert home(OPERATIONAL, stateful_set()) == Home("data-operational-0", "/data", "/data/pgdata")
    named = cluster(workloadRef={"name": "operational", "dataDirectory": "/data/17/main"})
    assert home(named, with_container(env=[])) == Home("data-operational-0", "/data", "/data/17/main")
    assert home(OPERATIONAL, on_one_claim()) == Home("by-hand", "/data", "/data/pgdata")
    later = stateful_set(ordinals={"start": 3})
    assert home(OPERATIONAL, later) == Home("data-operational-3", "/data", "/data/pgdata")


def test_each_member_has_its_data_on_a_claim_of_its_own_and_none_is_the_primarys_by_its_number() -> None:
    of_three = stateful_set(replicas=3, ordinals={"start": 5})
    members = ("data-operational-5", "data-operational-6", "data-operational-7")
    place = home(OPERATIONAL, of_three, 3)
    assert place == Home("", "/data", "/data/pgdata", members)
    assert place.claims == place.standbys == members
    assert Home(members[1], "/data", "/data/pgdata", members).standbys == (members[0], members[2])
    assert claims_beyond(of_three, place)[:2] == ["data-operational-8", "data-operational-9"]
    alone = home(OPERATIONAL, stateful_set())
    assert isinstance(alone, Home)
    assert (alone.claims, alone.standbys) == (("data-operational-0",), ())
    assert claims_beyond(stateful_set(), alone)[0] == "data-operational-1"
    assert claims_beyond(stateful_set(volumeClaimTemplates=[]), alone) == []


def test_members_count_as_they_were_before_the_restore_stopped_them() -> None:
    workload = Workload(DependentKind.STATEFUL_SET, "shop", "operational", stateful_set(replicas=3))
    assert member_count(workload, "uid") == 3
    stopped = stop(workload, "uid", "shop/rescue")
    assert stopped is not None
    body = stateful_set(replicas=0)
    body["metadata"]["annotations"] = stopped.patch["metadata"]["annotations"]
    at_rest = Workload(DependentKind.STATEFUL_SET, "shop", "operational", body)
    assert member_count(at_rest, "uid") == 3
    assert member_count(at_rest, "uid-of-another") == 1


@pytest.mark.parametrize(
    ("workload", "count", "reason", "says"),
    [
        (stateful_set(), 17, "TooManyMembers", "has 17 members, and at most 16"),
        (on_one_claim(), 2, "ClaimShared", "all 2 members have their data on one claim, by-hand"),
    ],
)
def test_members_that_cannot_be_replaced_together_are_refused(
    workload: Body, count: int, reason: str, says: str
) -> None:
    refused = home(OPERATIONAL, workload, count)
    assert isinstance(refused, Obstacle)
    assert refused.reason == reason
    assert says in refused.message
    assert "target.newInstance" in refused.message


@pytest.mark.parametrize(
    ("workload", "reason", "says"),
    [
        (with_container(name="main"), "ContainerNotFound", "there are: main"),
        (with_container(env=[]), "DataDirectoryUnknown", "workloadRef.dataDirectory"),
        (with_container(env=[{"name": "PGDATA", "value": "/var/pg"}]), "ClaimUnknown", "/var/pg lies on no claim"),
        (with_container(env=[{"name": "PGDATA", "value": "/data"}]), "DataDirectoryUnfit", "the root of its volume"),
        (with_container(volumeMounts=[{**MOUNT, "subPath": "x"}]), "DataDirectoryUnfit", "subPath"),
        (
            with_container(
                volumeMounts=[{"name": "data", "mountPath": "/tmp"}], env=[{"name": "PGDATA", "value": "/tmp/pgdata"}]
            ),
            "DataDirectoryUnfit",
            "something else",
        ),
        (stateful_set(volumeClaimTemplates=[]), "ClaimUnknown", "lies on no claim"),
    ],
)
def test_data_that_nothing_can_take_the_place_of_are_refused(workload: Body, reason: str, says: str) -> None:
    refused = home(OPERATIONAL, workload)
    assert isinstance(refused, Obstacle)
    assert refused.reason == reason
    assert says in refused.message


def test_only_pods_that_have_not_ended_hold_a_claim() -> None:
    def pod(name: str, claim: str, phase: str) -> Body:
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}, {"name": "e", "emptyDir": {}}]
        return {"metadata": {"name": name}, "spec": {"volumes": volumes}, "status": {"phase": phase}}

    pods = [pod("a", "mine", "Running"), pod("b", "mine", "Succeeded"), pod("c", "other", "Running")]
    pods += [pod("d", "mine", "Pending"), {"metadata": {"name": "e"}, "spec": {}}]
    assert [each["metadata"]["name"] for each in pods_on_claims(pods, ["mine"])] == ["a", "d"]
