"""manifests/: what the chart renders, cut into a kustomize base and two overlays.

The chart is the source. Helm's own labels and hooks go, the configuration becomes a configMapGenerator (whose hash in
the name restarts the pods when it changes), and roles go to the overlay that needs them.
"""

from __future__ import annotations

import copy
import subprocess
from typing import Any

import yaml

from hack.generate.crd import to_yaml
from hack.generate.helm import find_helm
from hack.generate.output import HEADER, ROOT

NAMESPACE = "pgwarden-system"
CHART_HEADER = HEADER.replace("the models in operator/pgwarden", "the chart")
CLUSTER_WIDE: tuple[str, ...] = ()
SINGLE_NAMESPACE = ("--set", f"watch.namespaces={{{NAMESPACE}}}")
ROLES = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
CONFIG_CHECKSUM = "pgwarden.dev/config"

Manifest = dict[str, Any]


def manifest_files() -> dict[str, str]:
    """Path -> content of everything under manifests/ that the chart determines. Raises HelmMissing."""
    everywhere, single = render(CLUSTER_WIDE), render(SINGLE_NAMESPACE)
    files = {
        "manifests/base/namespace.yaml": text([namespace()]),
        "manifests/base/operator.yaml": text([manifest for manifest in everywhere if is_base(manifest)]),
        "manifests/base/config/operator.yaml": CHART_HEADER + configuration(everywhere),
        "manifests/base/kustomization.yaml": text(
            [
                kustomization(
                    resources=["../../crds", "namespace.yaml", "operator.yaml"],
                    configMapGenerator=[{"name": "pgwarden", "files": ["config/operator.yaml"]}],
                    namespace=NAMESPACE,
                )
            ]
        ),
    }
    for overlay, manifests in (("cluster-wide", everywhere), ("single-namespace", single)):
        folder = f"manifests/overlays/{overlay}"
        more = [manifest for manifest in manifests if manifest["kind"] in ROLES or is_policy_of_jobs(manifest)]
        files[f"{folder}/rbac.yaml"] = text([manifest for manifest in more if manifest["kind"] in ROLES])
        customization = kustomization(resources=["../../base", "rbac.yaml"], namespace=NAMESPACE)
        if overlay == "single-namespace":
            files[f"{folder}/config/operator.yaml"] = CHART_HEADER + configuration(manifests)
            files[f"{folder}/networkpolicy.yaml"] = text([manifest for manifest in more if is_policy_of_jobs(manifest)])
            customization["resources"].append("networkpolicy.yaml")
            customization["configMapGenerator"] = [
                {"name": "pgwarden", "behavior": "replace", "files": ["config/operator.yaml"]}
            ]
        files[f"{folder}/kustomization.yaml"] = text([customization])
    return files


def render(arguments: tuple[str, ...]) -> list[Manifest]:
    """What `helm template` makes of the chart, without Helm's labels and hooks."""
    command = [find_helm(), "template", "pgwarden", str(ROOT / "charts/pgwarden"), "--namespace", NAMESPACE]
    command += ["--set", "crds.enabled=false", "--no-hooks", *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [without_helm(manifest) for manifest in yaml.safe_load_all(output) if manifest]


def without_helm(manifest: Manifest) -> Manifest:
    """The manifest as kustomize should have it."""
    result = copy.deepcopy(manifest)
    places = [result["metadata"], result.get("spec", {}).get("template", {}).get("metadata", {})]
    for metadata in places:
        labels = metadata.get("labels", {})
        labels.pop("helm.sh/chart", None)
        if labels.get("app.kubernetes.io/managed-by") == "Helm":
            del labels["app.kubernetes.io/managed-by"]
        metadata.get("annotations", {}).pop(CONFIG_CHECKSUM, None)
        if metadata.get("annotations") == {}:
            del metadata["annotations"]
    return result


def is_base(manifest: Manifest) -> bool:
    return manifest["kind"] not in {*ROLES, "ConfigMap"} and not is_policy_of_jobs(manifest)


def is_policy_of_jobs(manifest: Manifest) -> bool:
    return bool(manifest["kind"] == "NetworkPolicy" and manifest["metadata"]["name"] != "pgwarden")


def configuration(manifests: list[Manifest]) -> str:
    """operator.yaml as the chart writes it."""
    config_map = next(manifest for manifest in manifests if manifest["kind"] == "ConfigMap")
    return str(config_map["data"]["operator.yaml"])


def namespace() -> Manifest:
    """The operator's namespace, in which Pod Security holds every pod to `restricted`."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": levels}}


def kustomization(**content: object) -> Manifest:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **content}


def text(manifests: list[Manifest]) -> str:
    return CHART_HEADER + "---\n".join(to_yaml(manifest) for manifest in manifests)
