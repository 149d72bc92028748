"""RBAC rules from the table of what the operator does with each kind (pgwarden.kube.types)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pgwarden.api.model import GROUP
from pgwarden.kube.types import ALL, OWN_KINDS, ResourceType
from pgwarden.restores.resource import RestoreRequest

Rule = dict[str, Any]

READ = ["get", "list", "watch"]
WRITE = ["create", "update", "patch", "delete", "deletecollection"]


def rules_document() -> dict[str, list[Rule]]:
    """What the chart's roles hold, by role.

    `watched`: the operator in every namespace it watches; `inPlace`: there as well, where restores in place are
    enabled; `own`: in its own namespace; `admission`: on the admission policy that the chart brings, where it does;
    `view`, `edit` and `restorer`: people. A restore replaces data, so `edit` may not ask for one: only `restorer`,
    which nothing aggregates, may.
    """
    kinds = [resource.INFO.plural for resource in OWN_KINDS]
    restores = [RestoreRequest.INFO.plural]
    return {
        "watched": operator_rules(kind for kind in ALL if not kind.operator_namespace_only and not kind.admission_only),
        "inPlace": [
            rule([kind.plural], sorted(kind.in_place_verbs), kind.group) for kind in ALL if kind.in_place_verbs
        ],
        "own": operator_rules(kind for kind in ALL if kind.operator_namespace_only),
        "admission": operator_rules(kind for kind in ALL if kind.admission_only),
        "view": [rule(kinds, READ)],
        "edit": [rule([plural for plural in kinds if plural not in restores], WRITE)],
        "restorer": [rule(kinds, READ), rule(restores, WRITE)],
    }


def roles_for_people() -> list[dict[str, Any]]:
    """ClusterRoles on our kinds: `view` and `edit` flow into the cluster's own, `restorer` into none."""
    rules = rules_document()
    aggregated = "rbac.authorization.k8s.io/aggregate-to-{}"
    return [
        cluster_role("view", rules["view"], {aggregated.format("view"): "true"}),
        cluster_role("edit", rules["edit"], {aggregated.format("edit"): "true"}),
        cluster_role("restorer", rules["restorer"], {}),
    ]


def cluster_role(name: str, rules: list[Rule], labels: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"pgwarden-{name}", "labels": labels},
        "rules": rules,
    }


def operator_rules(kinds: Iterable[ResourceType]) -> list[Rule]:
    """One rule for each kind, and one for each of its subresources."""
    result = []
    for kind in kinds:
        if kind.verbs:
            result.append(rule([kind.plural], sorted(kind.verbs), kind.group))
        for subresource, verbs in kind.subresources:
            result.append(rule([f"{kind.plural}/{subresource}"], sorted(verbs), kind.group))
    return result


def rule(resources: list[str], verbs: list[str], group: str = GROUP) -> Rule:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}
