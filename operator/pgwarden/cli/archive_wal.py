"""`pgwarden archive-wal`: the process that streams the WAL of one cluster into a store."""

from __future__ import annotations

from typing import Annotated

import typer

from pgwarden.archiving.contract import PORT, SETTINGS_FILE

app = typer.Typer(add_completion=False)


@app.command()
def archive_wal(
    settings: Annotated[str, typer.Option(help="What to archive and where to, as JSON.")] = SETTINGS_FILE,
    port: Annotated[int, typer.Option(help="Port of the document, the metrics and the probes.")] = PORT,
) -> None:
    """Streams WAL into a store, and tells the server only of what the store holds."""
    from pgwarden.archiving.process import main

    raise typer.Exit(main(settings, port))
