"""What the charts render, and what their values refuse. Nothing here needs a cluster, but helm must be there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.generate.helm import HelmMissing, find_helm
from hack.generate.output import ROOT
from pgwarden.kube.config import OperatorConfig
from pgwarden.kube.types import OWN_KINDS

CHART = ROOT / "charts/pgwarden"

pytestmark = pytest.mark.unit


@cache
def helm() -> str:
    """Without helm, tests are skipped and say why; under CI they fail."""
    try:
        return find_helm()
    except HelmMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def template(*arguments: str, chart: Path = CHART) -> subprocess.CompletedProcess[str]:
    command = [helm(), "template", "pgwarden", str(chart), "--namespace", "system", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def render(*arguments: str, chart: Path = CHART) -> list[dict[str, Any]]:
    done = template(*arguments, chart=chart)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def of_kind(manifests: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def configuration(manifests: list[dict[str, Any]]) -> OperatorConfig:
    """operator.yaml as the operator itself reads it."""
    (text,) = (
        manifest["data"]["operator.yaml"]
        for manifest in of_kind(manifests, "ConfigMap")
        if "operator.yaml" in manifest["data"]
    )
    return OperatorConfig.model_validate(yaml.safe_load(text))


def pods(manifests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            yield manifest["spec"]
        elif "template" in manifest.get("spec", {}):
            yield manifest["spec"]["template"]["spec"]


def test_the_operator_understands_the_configuration_the_chart_writes() -> None:
    config = configuration(render())
    assert config.namespaces == []
    assert config.images.monitor == "pgwarden/operator:0.1.0"
    assert config.images.agent == {"17": "pgwarden/agent:17-0.1.0", "18": "pgwarden/agent:18-0.1.0"}


def test_every_value_reaches_the_configuration() -> None:
    config = configuration(
        render(
            "--set", "watch.namespaces={one,two}", "--set", "limits.jobsTotal=7", "--set", "limits.jobsPerCluster=2",
            "--set", "intervals.storeProbe=60", "--set", "intervals.monitor=3", "--set", "intervals.resync=11",
            "--set", "intervals.jobTimeToLive=0", "--set", "intervals.backupStuck=12",
            "--set", "images.pullPolicy=Always",
            "--set", "images.pullSecrets={key}", "--set", "operator.logLevel=DEBUG",
            "--set", "jobServiceAccounts={a,b}", "--set", "images.registry=mirror/x/",
        )
    )  # fmt: skip
    assert config.namespaces == ["one", "two"]
    assert (config.limits.jobs_total, config.limits.jobs_per_cluster) == (7, 2)
    assert (config.store_probe_interval, config.monitor_interval, config.resync_interval) == (60, 3, 11)
    assert (config.job_seconds_to_live, config.backup_stuck_after) == (0, 12)
    assert (config.image_pull_policy, config.image_pull_secrets) == ("Always", ["key"])
    assert (config.log_level, config.service_accounts) == ("DEBUG", ["a", "b"])
    assert config.images.agent["17"] == "mirror/x/pgwarden/agent:17-0.1.0"


def test_without_restores_in_place_no_workload_can_be_stopped() -> None:
    def patches(*arguments: str) -> set[str]:
        manifests = render(*arguments)
        assert configuration(manifests).in_place_restores is (not arguments)
        rules = [rule for role in of_kind(manifests, "ClusterRole") for rule in role["rules"]]
        return {name for rule in rules for name in rule["resources"] if "patch" in rule["verbs"]}

    assert patches() - patches("--set", "restore.inPlace.enabled=false") == {
        "statefulsets", "cronjobs", "persistentvolumeclaims"
    }  # fmt: skip


def test_a_changed_configuration_restarts_the_operator() -> None:
    def annotation(*arguments: str) -> str:
        (deployment,) = of_kind(render(*arguments), "Deployment")
        return str(deployment["spec"]["template"]["metadata"]["annotations"]["pgwarden.dev/config"])

    assert annotation() == annotation()
    assert annotation() != annotation("--set", "limits.jobsTotal=7")


def test_every_pod_keeps_to_pod_security_restricted_with_a_read_only_root() -> None:
    found = list(pods(render()))
    assert len(found) == 2
    for spec in found:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_an_install_for_some_namespaces_has_no_rights_outside_them() -> None:
    manifests = render("--set", "watch.namespaces={one,two}", "--set", "crds.enabled=false")
    assert not of_kind(manifests, "ClusterRole") + of_kind(manifests, "ClusterRoleBinding")
    assert sorted(role["metadata"]["namespace"] for role in of_kind(manifests, "Role")) == ["one", "system", "two"]


def test_releases_of_one_name_in_two_namespaces_share_no_cluster_wide_name() -> None:
    names = [
        {m["metadata"]["name"] for m in render("--set", "crds.enabled=false", "--namespace", place)
         if m["kind"].startswith("ClusterRole")}
        for place in ("one", "two")
    ]  # fmt: skip
    assert names[0]
    assert names[0].isdisjoint(names[1])


def test_who_asks_for_a_restore_is_compared_only_where_that_is_wanted() -> None:
    assert not of_kind(render(), "ValidatingAdmissionPolicy")
    assert configuration(render()).requester_policy == ""
    manifests = render("--set", "admission.requestedBy=true", "--set", "watch.namespaces={one}")
    (policy,) = of_kind(manifests, "ValidatingAdmissionPolicy")
    (binding,) = of_kind(manifests, "ValidatingAdmissionPolicyBinding")
    name = configuration(manifests).requester_policy
    assert policy["metadata"]["name"] == binding["metadata"]["name"] == binding["spec"]["policyName"] == name
    assert binding["spec"]["validationActions"] == ["Deny"]
    constraints = policy["spec"]["matchConstraints"]
    assert constraints["resourceRules"][0]["resources"] == ["restorerequests"]
    assert constraints["namespaceSelector"]["matchExpressions"][0]["values"] == ["one"]
    (role,) = (each for each in of_kind(manifests, "ClusterRole") if each["metadata"]["name"] == name)
    assert {rule["resourceNames"][0] for rule in role["rules"]} == {name}
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get"}


@pytest.mark.parametrize("chart", ["pgwarden", "pgwarden-crds"])
def test_kinds_and_the_roles_on_them_outlive_the_release(chart: str) -> None:
    manifests = render(chart=ROOT / "charts" / chart)
    kept = {
        manifest["metadata"]["name"]
        for manifest in manifests
        if manifest["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    crds = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "CustomResourceDefinition")}
    assert len(crds) == len(OWN_KINDS)
    assert kept == crds | {"pgwarden-view", "pgwarden-edit", "pgwarden-restorer"}


def test_both_charts_bring_the_same_kinds() -> None:
    def specs(chart: str) -> dict[str, Any]:
        manifests = of_kind(render(chart=ROOT / "charts" / chart), "CustomResourceDefinition")
        return {manifest["metadata"]["name"]: manifest["spec"] for manifest in manifests}

    assert specs("pgwarden") == specs("pgwarden-crds")


def test_one_replica_gets_no_disruption_budget_that_would_block_a_drain() -> None:
    assert len(of_kind(render(), "PodDisruptionBudget")) == 1
    assert not of_kind(render("--set", "operator.replicas=1"), "PodDisruptionBudget")


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("imags.operator=x", "imags"),
        ("operator.replicas=0", "replicas"),
        ("operator.logLevel=loud", "logLevel"),
        ("images.pullPolicy=Sometimes", "pullPolicy"),
        ("images.agent.12=x", "agent"),
        ("watch.namespaces={Not_A_Name}", "namespaces"),
        ("intervals.storeProbe=5", "storeProbe"),
        ("limits.jobsTotal=many", "jobsTotal"),
    ],
)
def test_a_wrong_value_is_refused_and_named(setting: str, named: str) -> None:
    refusal = template("--set", setting)
    assert refusal.returncode != 0
    assert named in refusal.stderr


def test_ports_for_jobs_that_no_policy_would_carry_are_refused() -> None:
    refusal = template("--set", "networkPolicy.enabled=true,networkPolicy.jobEgressPorts={5432}")
    assert refusal.returncode != 0
    assert "networkPolicy.jobEgressPorts needs watch.namespaces" in refusal.stderr
    narrowed = "networkPolicy.enabled=true,networkPolicy.jobEgressPorts={5432},watch.namespaces={one}"
    policies = of_kind(render("--set", narrowed), "NetworkPolicy")
    of_jobs = [p for p in policies if p["metadata"]["namespace"] == "one"]
    assert [p["spec"]["egress"][0]["ports"][-1]["port"] for p in of_jobs] == [5432] * 3
    components = [p["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for p in of_jobs]
    assert components == ["agent", "monitor", "archiver"]


@pytest.mark.parametrize("chart", ["pgwarden", "pgwarden-crds"])
def test_every_value_is_described_and_every_described_value_exists(chart: str) -> None:
    folder = ROOT / "charts" / chart
    values = yaml.safe_load((folder / "values.yaml").read_text())
    schema = json.loads((folder / "values.schema.json").read_text())
    assert described(schema) - {"global"} == paths(values, schema)


def described(schema: dict[str, Any], prefix: str = "") -> set[str]:
    """Paths of all values in a schema; every one has a description."""
    found = set()
    for name, field in schema.get("properties", {}).items():
        assert field.get("description"), f"{prefix}{name} has no description"
        found |= {prefix + name} | described(field, f"{prefix}{name}.")
    return found


def paths(values: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> set[str]:
    """Paths of all values in values.yaml; maps that a user fills are one value."""
    found = set()
    for name, value in values.items():
        field = schema["properties"][name]
        found |= {prefix + name}
        if "properties" in field:
            found |= paths(value, field, f"{prefix}{name}.")
    return found
