"""`pgwarden monitor`: the process that measures the databases of one namespace."""

from __future__ import annotations

from typing import Annotated

import typer

from pgwarden.monitoring.contract import PORT, SERVERS_FILE

app = typer.Typer(add_completion=False)


@app.command()
def monitor(
    servers_file: Annotated[str, typer.Option(help="The list of servers, as JSON.")] = SERVERS_FILE,
    port: Annotated[int, typer.Option(help="Port of the document, the metrics and the probes.")] = PORT,
) -> None:
    """Looks at every server of its list at an interval and serves what it saw."""
    from pgwarden.monitoring.process import main

    raise typer.Exit(main(servers_file, port))
