"""The conditions that the API reference lists are those that the plans give."""

from __future__ import annotations

import ast

import pytest

from hack.generate.reasons import Row, row_of, rows_of
from pgwarden.api.model import Resource
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.kube.types import OWN_KINDS

pytestmark = pytest.mark.unit


def rows(expression: str) -> list[Row]:
    return list(row_of(ast.parse(expression, mode="eval").body, {"REACHABLE": "Reachable"}))


def test_a_judgment_by_a_constant_is_read() -> None:
    assert rows('judge(REACHABLE, None, "MonitorNotRunning", message)') == [
        Row("Reachable", "Unknown", "MonitorNotRunning", "", "", "")
    ]


def test_what_decides_is_shown_with_what_tools_make_of_it() -> None:
    assert rows('stalled("Damaged", message)') == [Row("Ready", "False", "Damaged", "Failed", "Degraded", "Failed")]


def test_argocd_calls_what_is_suspended_so() -> None:
    assert rows('in_progress("Suspended", "held back")') == [
        Row("Ready", "False", "Suspended", "InProgress", "Suspended", "InProgress")
    ]


@pytest.mark.parametrize("expression", ["in_progress(reason, message)", "judge(name, True, 'X')", "print('Damaged')"])
def test_what_does_not_stand_in_the_source_gives_no_row(expression: str) -> None:
    assert rows(expression) == []


@pytest.mark.parametrize("resource", OWN_KINDS, ids=lambda resource: resource.INFO.kind)
def test_every_kind_says_when_it_is_ready(resource: type[Resource]) -> None:
    assert [row for row in rows_of(resource) if (row.condition, row.status) == ("Ready", "True")]


def test_an_unreachable_cluster_stays_ready() -> None:
    assert {row.kstatus for row in rows_of(DatabaseCluster) if row.condition == "Reachable"} == {""}
