"""Reasons that a plan hands on: those of a Job, of its agent, of the monitor, of the API server.

Wherever a reason is made it is a literal, and is given for a parameter or a field that is called `reason`
(`TaskError("StoreFull", ...)`, `JobState(phase, reason="Evicted")`), is assigned to that name, or leads a tuple that
holds sentences as well (`return "PodDeleted", message, remedy`). Which of them can reach a kind follows from what the
modules that work for it import.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from hack.generate.reasons import rows_of
from hack.generate.sources import constants_of, imports_of, modules_of, reached, tree_of, words_in
from pgwarden.api.model import Resource

JOBS = ("jobs.state", "jobs.attempts")
API_SERVER = ("kube.work", "kube.reconciler")
# Operator's modules outside the room that say what keeps an object of it waiting.
SURROUNDINGS = {
    "backups": ("clusters.access", "stores.access"),
    "migrations": ("clusters.access",),
    "restores": ("clusters.access", "stores.access"),
}
# Whose tasks run for a kind, and what people call them; servers are looked at by the monitor, which is no task.
WORKERS = {
    "clusters": ("the monitor", ()),
    "stores": ("the probe", ("stores",)),
    "policies": ("the look into the archive", ("catalogue",)),
    "migrations": ("the agent", ("migrations",)),
    "backups": ("the agent", ("backups", "logical", "catalogue")),
    "restores": ("the agent", ("restores",)),
}
ELSEWHERE = frozenset({"Done", "Notice"})
"""What takes a reason that stands in the record of an attempt, or in an Event, and in no condition."""
NEVER = frozenset({"Conflict", "FirstFull", "FullLost", "ExpiryRefused", "Summarized", "Verified"})
"""What the API server says and `refuse` says otherwise; causes of fulls, and ends of looks, which lead tuples too."""


@dataclass(frozen=True)
class Carried:
    """The reasons that one origin may give."""

    origin: str
    reasons: list[str]


def carried(resource: type[Resource]) -> list[Carried]:
    """The reasons a condition of that kind may have beside those of its rows, each with the first that may give it."""
    room = resource.__module__.split(".")[1]
    words, rooms = WORKERS[room]
    tasks = [module for each in rooms for module in modules_of(each) if module.endswith("task")]
    worker = reached(["jobs.agent", *tasks] if tasks else ["monitoring.observe"])
    origins = [
        ("the operator", [*judging(room, worker), *SURROUNDINGS.get(room, ())]),
        ("the API server, asked for a Job or another object", API_SERVER),
        ("the Job and its pod", () if room == "clusters" else JOBS),
        (words, worker),
    ]
    known = {row.reason for row in rows_of(resource)}
    result = []
    for origin, modules in origins:
        new = set().union(*map(given_in, modules)) - known
        known |= new
        if new:
            result.append(Carried(origin, sorted(new)))
    return result


def judging(room: str, worker: Sequence[str]) -> list[str]:
    """The modules of a room in which the operator judges its kind; `access` speaks for others that refer to it."""
    return [name for name in modules_of(room) if name not in worker and name != f"{room}.access"]


@cache
def given_in(module: str) -> frozenset[str]:
    """The reasons that stand in a module's source."""
    nodes, constants = ast.walk(tree_of(module)), constants_of(module)
    values = [value for node in nodes for value in values_in(node, module)]
    return frozenset(word for value in values for word in words_in(value, constants)) - NEVER


def values_in(node: ast.AST, module: str) -> Iterator[ast.expr]:
    """The expressions in the place of a reason, where a node is such a place."""
    if isinstance(node, ast.Call):
        position = position_of_reason(node.func, module)
        if position is not None and position < len(node.args):
            yield node.args[position]
        yield from (keyword.value for keyword in node.keywords if keyword.arg == "reason")
    elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(each, ast.Name) and each.id == "reason" for each in targets):
            yield node.value
    elif isinstance(node, ast.Tuple) and len(node.elts) > 1 and any(map(is_text, node.elts[1:])):
        yield node.elts[0]
    elif isinstance(node, ast.ClassDef) and node.name.endswith("Reason"):
        yield from (each.value for each in node.body if isinstance(each, ast.Assign))


def is_text(node: ast.expr) -> bool:
    """Whether an expression is a sentence, or made into one."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and " " in node.value
    named = isinstance(node, ast.Name) and ("message" in node.id or "remedy" in node.id.lower())
    return named or isinstance(node, ast.JoinedStr | ast.BinOp | ast.Call)


def position_of_reason(function: ast.expr, module: str) -> int | None:
    """At which place a function or class takes `reason`; None where it takes none, or is not one of pgwarden's."""
    if not isinstance(function, ast.Name) or function.id in ELSEWHERE:
        return None
    if function.id in imports_of(module):
        source, original = imports_of(module)[function.id]
        return position_in(original, source) if original else None
    return position_in(function.id, module)


@cache
def position_in(name: str, module: str) -> int | None:
    """The same, of a function or class by its name and module."""
    for node in tree_of(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return place([argument.arg for argument in node.args.args])
        if isinstance(node, ast.ClassDef) and node.name == name:
            return position_in_class(node, module)
    if name in imports_of(module):
        source, original = imports_of(module)[name]
        return position_in(original, source) if original else None
    return None


def position_in_class(node: ast.ClassDef, module: str) -> int | None:
    """Of a class: by its __init__, by its fields in their order, or by what it stands on."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return place([argument.arg for argument in each.args.args][1:])
    fields = [each.target for each in node.body if isinstance(each, ast.AnnAssign)]
    names = [field.id for field in fields if isinstance(field, ast.Name)]
    if "reason" in names:
        return place(names)
    bases = [position_in(base.id, module) for base in node.bases if isinstance(base, ast.Name)]
    return next((each for each in bases if each is not None), None)


def place(names: Sequence[str]) -> int | None:
    return names.index("reason") if "reason" in names else None
