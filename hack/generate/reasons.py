"""Conditions and reasons of each kind, read out of the modules in which the operator judges it.

A plan says `ready(reason, ...)`, `in_progress(reason, ...)`, `stalled(reason, ...)` or `judge(type, status, reason,
...)`. Calls whose reason is written out, as a literal or a constant, give rows; `hack/generate/carried.py` finds those
that a plan passes on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hack.generate.sources import constants_of, imports_of, modules_of, tree_of, words_in
from pgwarden.api.model import Resource
from pgwarden.archiving.contract import ArchiverState
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.wal import STARTING, WAL_ARCHIVING

CONDITIONS = "api.conditions"
SHORTHANDS = {
    "ready": ("Ready", "True"),
    "in_progress": ("Ready", "False"),
    "stalled": ("Ready", "False"),
}
# What kstatus, Argo CD and Flux make of an object in that state; hack/generate/states.py has the whole table.
READ_AS = {
    "ready": ("Current", "Healthy", "Current"),
    "in_progress": ("InProgress", "Progressing", "InProgress"),
    "stalled": ("Failed", "Degraded", "Failed"),
    "judge": ("", "", ""),
}
TRUTHS = {"True": "True", "False": "False", "None": "Unknown"}


@dataclass(frozen=True)
class Row:
    """One condition with one reason, and how tools read an object that has it."""

    condition: str
    status: str
    reason: str
    kstatus: str
    argocd: str
    flux: str


def rows_of(resource: type[Resource]) -> list[Row]:
    """The rows of a kind, each once, those that decide first."""
    rows = {row for module in modules_of(resource.__module__.split(".")[1]) for row in rows_in(module)}
    rows |= set(archiver_rows()) if resource is BackupPolicy else set()
    return sorted(rows, key=lambda row: (row.condition != "Ready", row.condition, row.kstatus, row.status, row.reason))


def rows_in(module: str) -> Iterator[Row]:
    """The rows that the calls of one module give, of those of the four that it has from pgwarden.api.conditions."""
    known = {name for name, (source, _) in imports_of(module).items() if source == CONDITIONS}
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
            yield from row_of(node, constants_of(module))


def archiver_rows() -> Iterator[Row]:
    """WALArchiving has the archiver's state for its reason."""
    for state in ArchiverState:
        if state is not ArchiverState.STREAMING:
            yield Row(WAL_ARCHIVING, "Unknown" if state in STARTING else "False", state.value, *READ_AS["judge"])


def row_of(node: ast.AST, constants: Mapping[str, str]) -> Iterator[Row]:
    """The rows a call gives, if it is one of the four and its reason is written out."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in READ_AS:
        return
    call = node.func.id
    if call == "judge":
        types, reasons = (list(words_in(argument, constants)) for argument in (node.args[0], node.args[2]))
        for condition in types:
            for reason in reasons:
                for truth in truths(node.args[1]):
                    yield Row(condition, truth, reason, *READ_AS[call])
        return
    for reason in words_in(node.args[0], constants):
        kstatus, argocd, flux = READ_AS[call]
        # Argo CD calls an object suspended whose spec says so, unless it is stalled.
        suspended = reason == "Suspended" and call != "stalled"
        yield Row(*SHORTHANDS[call], reason, kstatus, "Suspended" if suspended else argocd, flux)


def truths(node: ast.expr) -> list[str]:
    """The statuses a judgment can have."""
    if isinstance(node, ast.IfExp):
        return [*truths(node.body), *truths(node.orelse)]
    return [TRUTHS.get(ast.unparse(node), "any")]
