"""The development cluster refuses what a real one does: by Pod Security, admission policies and access rules."""

from __future__ import annotations

import secrets

import pytest

from tests.support.cluster import Cluster

pytestmark = pytest.mark.timeout(120)


def test_pod_security_refuses_a_privileged_pod(cluster: Cluster, namespace: str) -> None:
    privileged = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "privileged"},
        "spec": {
            "containers": [
                {"name": "main", "image": "localhost/postgres:17", "securityContext": {"privileged": True}},
            ]
        },
    }
    answer = cluster.apply(privileged, "-n", namespace, check=False)
    assert answer.returncode != 0
    assert 'violates PodSecurity "restricted' in answer.stderr


def test_a_validating_admission_policy_denies(cluster: Cluster, namespace: str) -> None:
    name = f"test-cluster-{secrets.token_hex(3)}"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
                ],
            },
            "validations": [
                {"expression": "!object.metadata.name.startsWith('forbidden')", "message": "not by that name"}
            ],
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

        def refused() -> bool:
            # A policy takes effect a moment after it was made.
            create = ["create", "configmap", f"forbidden-{secrets.token_hex(3)}", "-n", namespace]
            answer = cluster.kubectl(*create, check=False)
            return answer.returncode != 0 and "not by that name" in answer.stderr

        cluster.wait(refused, "the policy to deny", seconds=30)
        cluster.kubectl("create", "configmap", "allowed", "-n", namespace)
    finally:
        cluster.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name, check=False)


def test_a_service_account_may_do_nothing_by_itself(cluster: Cluster, namespace: str) -> None:
    user = f"--as=system:serviceaccount:{namespace}:default"
    answer = cluster.kubectl("auth", "can-i", "list", "secrets", "-n", namespace, user, check=False)
    assert answer.stdout.strip() == "no"


def test_a_node_may_not_read_secrets_that_no_pod_of_it_uses(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "secret", "generic", "nobodys", "-n", namespace, "--from-literal=key=value")
    node = cluster.get("nodes")["items"][0]["metadata"]["name"]
    who = [f"--as=system:node:{node}", "--as-group=system:nodes", "--as-group=system:authenticated"]
    answer = cluster.kubectl("get", "secret", "nobodys", "-n", namespace, *who, check=False)
    assert answer.returncode != 0
    assert "no relationship found between node" in answer.stderr
