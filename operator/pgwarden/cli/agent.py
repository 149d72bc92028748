"""`pgwarden agent`: what a Job's pod runs."""

from __future__ import annotations

from typing import Annotated

import typer

from pgwarden.jobs import agent as frame
from pgwarden.jobs.task import TASK_FILE, TERMINATION_FILE

app = typer.Typer(add_completion=False)


@app.command()
def agent(
    task_file: Annotated[str, typer.Option(help="The task, as JSON.")] = TASK_FILE,
    result_file: Annotated[str, typer.Option(help="Where the result is written, as JSON.")] = TERMINATION_FILE,
) -> None:
    """Carries out one task and leaves its result behind; ends with 1 when the task failed."""
    frame.leave(frame.main(task_file, result_file))
