"""`pgwarden operator`: the process that watches and decides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def operator(
    config: Annotated[Path, typer.Option(help="The configuration, as YAML.")] = Path("/etc/pgwarden/operator.yaml"),
) -> None:
    """Watches pgwarden's objects and starts Jobs for them, while it holds the Lease."""
    from pgwarden.assembly import main

    raise typer.Exit(main(config))
