"""manifests/ as people use it without Helm: an overlay of their own on top of ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from tests.support.cluster import ROOT, Cluster

# A cluster has these once, and others on it need them as they are.
SHARED = {"CustomResourceDefinition", "ClusterRole", "Namespace"}
DEVELOPMENT = yaml.safe_load((ROOT / "hack/values-dev.yaml").read_text())["images"]

pytestmark = [pytest.mark.usefixtures("kinds"), pytest.mark.timeout(300)]


def write_overlay(folder: Path, namespace: str) -> None:
    """What a person writes to have the operator look after its own namespace, with images of one's own."""
    base = ROOT / "manifests/overlays/single-namespace"
    config = yaml.safe_load((base / "config/operator.yaml").read_text())
    config["namespaces"] = [namespace]
    config["images"] = {"agent": DEVELOPMENT["agent"], "monitor": DEVELOPMENT["operator"]}
    (folder / "operator.yaml").write_text(yaml.safe_dump(config))
    name, _, tag = DEVELOPMENT["operator"].rpartition(":")
    customization = {
        "resources": [os.path.relpath(base, folder)],
        "namespace": namespace,
        "images": [{"name": "pgwarden/operator", "newName": name, "newTag": tag}],
        "configMapGenerator": [{"name": "pgwarden", "behavior": "replace", "files": ["operator.yaml"]}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(customization))


def test_an_overlay_for_one_namespace_runs_there_with_rights_there_only(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    write_overlay(tmp_path, namespace)
    rendered = cluster.kubectl("kustomize", str(tmp_path)).stdout
    own = [manifest for manifest in yaml.safe_load_all(rendered) if manifest["kind"] not in SHARED]
    assert {manifest["metadata"]["namespace"] for manifest in own} == {namespace}
    cluster.kubectl("apply", "--server-side", "--filename=-", text=yaml.safe_dump_all(own))
    cluster.kubectl("rollout", "status", "deployment/pgwarden", "-n", namespace, "--timeout=120s")
    cluster.wait(
        lambda: bool(cluster.get("lease", "pgwarden", "-n", namespace)["spec"].get("holderIdentity")),
        "a holder of the Lease",
    )
    account = f"--as=system:serviceaccount:{namespace}:pgwarden"
    asked = ["auth", "can-i", "list", "databaseclusters.pgwarden.dev", account]
    assert cluster.kubectl(*asked, "-n", namespace).stdout.strip() == "yes"
    assert cluster.kubectl(*asked, "-n", "default", check=False).stdout.strip() == "no"


def test_the_overlay_for_all_namespaces_is_taken_by_the_api_server(cluster: Cluster) -> None:
    rendered = cluster.kubectl("kustomize", "manifests/overlays/cluster-wide").stdout
    manifests = list(yaml.safe_load_all(rendered))
    assert {manifest["kind"] for manifest in manifests} >= {*SHARED, "Deployment", "ClusterRoleBinding"}
    for manifest in manifests:
        # A dry run makes no namespace, so what lives in it is tried in one that is there.
        if "namespace" in manifest["metadata"]:
            manifest["metadata"]["namespace"] = "default"
    force = ("--field-manager=test", "--force-conflicts")
    arguments = ("apply", "--server-side", "--dry-run=server", *force, "--filename=-")
    cluster.kubectl(*arguments, text=yaml.safe_dump_all(manifests))
