"""An agent as a process of its own: the thing that gets killed, stopped and drained."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from pgwarden.jobs.task import Result, Task

from .postgres import wait_until

PROGRAM = "import sys; from pgwarden.jobs.agent import main; sys.exit(main(sys.argv[1], sys.argv[2]))"


class AgentProcess:
    """Runs one task; its output is read from a file."""

    def __init__(self, task: Task, folder: Path) -> None:
        folder.mkdir()
        self._result = folder / "termination-log"
        self._output = folder / "output"
        task_file = folder / "task.json"
        task_file.write_text(task.model_dump_json(by_alias=True))
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-c", PROGRAM, task_file, self._result],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(Path("operator").resolve())},
            )

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def wait_until_it_says(self, text: str) -> None:
        """Waits for a line of output that contains `text`; raises RuntimeError when the agent ends before it."""

        def said() -> bool:
            if text in self.output:
                return True
            if self.process.poll() is not None:
                raise RuntimeError(f"the agent ended before it said {text!r}: {self.output}")
            return False

        wait_until(said, f"the agent did not say {text!r}: {self.output}")

    def let_run(self, seconds: float) -> None:
        """Lets it go on for so long, or until it ends."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """SIGTERM, as when a node is drained."""
        self.process.send_signal(signal.SIGTERM)

    def result(self, seconds: float = 60) -> Result:
        """Waits for the end and reads the termination message."""
        self.process.wait(seconds)
        return Result.model_validate_json(self._result.read_text())
