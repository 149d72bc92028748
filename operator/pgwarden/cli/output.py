"""What all verbs print with. It imports nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Sequence


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def printable(text: str) -> str:
    """`text` without what a terminal would take for a command: names come from files, stores and databases."""
    return "".join(character if character.isprintable() else "?" for character in text)


def show_columns(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of as many cells each, plain: for pipes."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
