"""pgwarden on a test cluster through its chart: one release for everything, or one of a test's own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.cluster import ROOT, Cluster

SYSTEM = "pgwarden-system"
VALUES = ("charts/pgwarden", "--values", "hack/values-dev.yaml", "--wait", "--timeout", "240s")


def code_digest() -> str:
    """What the operator's code is: images keep their name, so pods would go on with the code of yesterday."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "operator").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def install_for_all(cluster: Cluster) -> bool:
    """Installs or upgrades the release that looks after all namespaces; tells whether there was none before."""
    absent = cluster.helm("status", "pgwarden", "-n", SYSTEM, check=False).returncode != 0
    cluster.helm(
        *("upgrade", "--install", "pgwarden", *VALUES, "-n", SYSTEM, "--create-namespace"),
        # Kinds that kubectl brought, as tests without the chart do, become the release's.
        *("--take-ownership", "--force-conflicts", "--set", "crds.adopt=true"),
        *("--set-string", f"operator.podAnnotations.code={code_digest()}"),
    )
    return absent


@contextmanager
def release_for(cluster: Cluster, namespace: str, *arguments: str) -> Iterator[None]:
    """A release of that namespace's own, and for it only: nobody else's operator may change anything there."""
    with hands_off(cluster, namespace):
        cluster.helm(
            *("install", "pgwarden", *VALUES, "-n", namespace, "--set", f"watch.namespaces={{{namespace}}}"),
            *("--set", "crds.enabled=false", "--set", "operator.replicas=1", *arguments),
        )
        yield


@contextmanager
def hands_off(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The operator of all namespaces, where one runs, is denied every change in this one."""
    name = f"hands-off-{namespace}"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [
                    {
                        "apiGroups": ["*"],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE", "DELETE"],
                        "resources": ["*/*"],
                    }
                ],
            },
            "matchConditions": [
                {
                    "name": "the-operator-of-all-namespaces",
                    "expression": f"request.userInfo.username == 'system:serviceaccount:{SYSTEM}:pgwarden'",
                }
            ],
            "validations": [{"expression": "false", "message": "this namespace has an operator of its own"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    try:
        cluster.apply(policy)
        cluster.apply(binding)

        def denied() -> bool:
            # A policy takes effect a moment after it was made.
            who = f"--as=system:serviceaccount:{SYSTEM}:pgwarden"
            made = ["create", "configmap", "denied", "-n", namespace, who, "--dry-run=server"]
            answer = cluster.kubectl(*made, check=False)
            return "an operator of its own" in answer.stderr or "forbidden: User" in answer.stderr

        cluster.wait(denied, "the policy to deny", seconds=60)
        yield
    finally:
        cluster.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name, check=False)
