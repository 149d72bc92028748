"""Restores whose copy is thrown away, drills and those into a server that runs: nothing is made to keep it. Pure."""

from __future__ import annotations

from pgwarden.restores.resource import DrillStorage, RestoreRequest


def on_scratch(request: RestoreRequest) -> bool:
    """Whether the copy lies on a volume that goes with the Job's pod; each attempt then has one of its own."""
    return request.spec.target.drill is not None or request.spec.target.into is not None


def scratch_storage(request: RestoreRequest) -> DrillStorage:
    """What that volume is to be. Raises ValueError for a request whose copy is kept."""
    asked = request.spec.target.drill or request.spec.target.into
    if asked is None:
        raise ValueError(f"RestoreRequest {request.metadata.name} keeps what it restores")
    return asked.storage
