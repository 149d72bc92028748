"""How an object is named inside the operator."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """Kind, namespace and name of one object."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"
