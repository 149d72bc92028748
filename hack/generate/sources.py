"""The source of pgwarden's modules as trees: what they import, and the words that expressions in them stand for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from hack.generate.output import ROOT

PACKAGE = ROOT / "operator/pgwarden"
REASON = re.compile(r"[A-Z][A-Za-z]*[a-z][A-Za-z]*")


def path_of(module: str) -> Path:
    """The file of a module, which is named without `pgwarden.`: backups.plan."""
    return PACKAGE / f"{module.replace('.', '/')}.py"


def modules_of(room: str) -> list[str]:
    """The modules of a room."""
    return sorted(f"{room}.{path.stem}" for path in (PACKAGE / room).glob("*.py") if path.stem != "__init__")


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text())


@cache
def imports_of(module: str) -> dict[str, tuple[str, str]]:
    """Name in a module -> (module of pgwarden, name there); the second is empty where a whole module is imported."""
    found: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree_of(module)):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("pgwarden."):
            continue
        source = str(node.module).removeprefix("pgwarden.")
        for alias in node.names:
            whole = path_of(f"{source}.{alias.name}").is_file()
            target = (f"{source}.{alias.name}", "") if whole else (source, alias.name)
            if path_of(target[0]).is_file():
                found[alias.asname or alias.name] = target
    return found


def reached(entries: Sequence[str]) -> list[str]:
    """These modules and all that they import, at whatever depth."""
    found: set[str] = set()
    open_ = list(entries)
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_ += [module for module, _ in imports_of(name).values()]
    return sorted(found)


@cache
def constants_of(module: str) -> dict[str, str]:
    """Names of a module that stand for strings, such as REACHABLE: its own, and those that it imports."""
    found = {}
    for name, (source, original) in imports_of(module).items():
        if original in own_constants(source):
            found[name] = own_constants(source)[original]
    return found | own_constants(module)


@cache
def own_constants(module: str) -> dict[str, str]:
    return {
        target.id: node.value.value
        for node in tree_of(module).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def words_in(node: ast.expr, constants: Mapping[str, str]) -> Iterator[str]:
    """The words an expression can have: a literal, a constant, one of several."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from [node.value] if REASON.fullmatch(node.value) else []
    elif isinstance(node, ast.Name) and node.id in constants:
        yield constants[node.id]
    elif isinstance(node, ast.IfExp):
        yield from (*words_in(node.body, constants), *words_in(node.orelse, constants))
    elif isinstance(node, ast.BoolOp):
        for each in node.values:
            yield from words_in(each, constants)
