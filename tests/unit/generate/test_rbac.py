"""Who may do what, as the generated roles say it."""

from __future__ import annotations

import pytest

from hack.generate.rbac import Rule, roles_for_people, rules_document
from pgwarden.kube.types import ALL, OWN_KINDS

pytestmark = pytest.mark.unit


def allows(rules: list[Rule], verb: str, resource: str, group: str) -> bool:
    return any(verb in rule["verbs"] and resource in rule["resources"] and group in rule["apiGroups"] for rule in rules)


def test_the_operator_may_do_what_the_table_lists_and_no_more() -> None:
    document = rules_document()
    granted = {
        (group, resource, verb)
        for part in ("watched", "inPlace", "own", "admission")
        for rule in document[part]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    wanted = {(kind.group, kind.plural, verb) for kind in ALL for verb in kind.verbs | kind.in_place_verbs} | {
        (kind.group, f"{kind.plural}/{subresource}", verb)
        for kind in ALL
        for subresource, verbs in kind.subresources
        for verb in verbs
    }
    assert granted == wanted


def test_no_rule_has_a_wildcard() -> None:
    for rules in rules_document().values():
        for rule in rules:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]


def test_the_operator_cannot_write_the_spec_of_its_own_kinds() -> None:
    watched = rules_document()["watched"]
    for kind in OWN_KINDS:
        for verb in ("update", "patch"):
            assert not allows(watched, verb, kind.INFO.plural, "pgwarden.dev")
    # A policy's backups and drills are made, and their objects cleared away; new instances are made known.
    mine = ["DatabaseBackup", "RestoreRequest"]
    for verb, may in (("create", ["DatabaseCluster", *mine]), ("delete", mine)):
        assert may == [kind.INFO.kind for kind in OWN_KINDS if allows(watched, verb, kind.INFO.plural, "pgwarden.dev")]


def test_what_stops_workloads_is_a_part_of_its_own() -> None:
    document = rules_document()
    for group, resource in (("apps", "statefulsets"), ("batch", "cronjobs"), ("", "persistentvolumeclaims")):
        assert allows(document["inPlace"], "patch", resource, group)
        assert not allows(document["watched"], "patch", resource, group)
    assert not allows(document["watched"], "list", "horizontalpodautoscalers", "autoscaling")
    assert all(rule["verbs"] for rules in document.values() for rule in rules)


def test_the_operator_reads_secrets_by_name_and_never_lists_them() -> None:
    watched = rules_document()["watched"]
    assert allows(watched, "get", "secrets", "")
    assert not allows(watched, "list", "secrets", "")
    assert not allows(watched, "watch", "secrets", "")


def test_only_the_restorer_may_ask_for_a_restore() -> None:
    may = {
        role["metadata"]["name"]
        for role in roles_for_people()
        if allows(role["rules"], "create", "restorerequests", "pgwarden.dev")
    }
    assert may == {"pgwarden-restorer"}


def test_the_restorer_is_aggregated_into_no_other_role() -> None:
    (restorer,) = (role for role in roles_for_people() if role["metadata"]["name"] == "pgwarden-restorer")
    assert not restorer["metadata"]["labels"]
