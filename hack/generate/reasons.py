"""Conditions and reasons of each kind, read out of the plans that give them (operator/pgwarden/<room>/plan.py).

A plan says `ready(reason, ...)`, `in_progress(reason, ...)`, `stalled(reason, ...)` or `judge(type, status, reason,
...)`. Calls whose reason is a literal give a row; a reason that a plan passes on (from a Job, or from the monitor) does
not stand in its source, and the page says so.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from hack.generate.output import ROOT
from pgwarden.api.model import Resource

ROOMS = ROOT / "operator/pgwarden"
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
# Rooms whose plan is cut into several modules.
MORE = {"backups": ("expiry",), "policies": ("judgments", "looks", "recoverable", "wal")}
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
    room = resource.__module__.split(".")[1]
    trees = [ast.parse((ROOMS / room / f"{name}.py").read_text()) for name in ("plan", *MORE.get(room, ()))]
    constants = {name: value for tree in trees for name, value in constants_of(tree).items()}
    rows = {row for tree in trees for node in ast.walk(tree) for row in row_of(node, constants)}
    return sorted(rows, key=lambda row: (row.condition != "Ready", row.condition, row.kstatus, row.status, row.reason))


def constants_of(tree: ast.Module) -> dict[str, str]:
    """Module-level names of strings, such as REACHABLE."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def row_of(node: ast.AST, constants: dict[str, str]) -> Iterator[Row]:
    """The row a call gives, if it is one of the four and its reason is written out."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in READ_AS:
        return
    call = node.func.id
    values = [literal(argument, constants) for argument in node.args]
    if call == "judge" and len(values) >= 3 and values[0] and values[2]:
        status = node.args[1]
        truth = TRUTHS.get(ast.unparse(status), "any")
        yield Row(values[0], truth, values[2], *READ_AS[call])
    elif call != "judge" and values and values[0]:
        kstatus, argocd, flux = READ_AS[call]
        # Argo CD calls an object suspended whose spec says so, unless it is stalled.
        suspended = values[0] == "Suspended" and call != "stalled"
        yield Row(*SHORTHANDS[call], values[0], kstatus, "Suspended" if suspended else argocd, flux)


def literal(node: ast.expr, constants: dict[str, str]) -> str:
    """The string a literal or a module's constant stands for; empty when it is neither."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return constants.get(node.id, "") if isinstance(node, ast.Name) else ""
