"""Every version that objects of a namespace went through, as `kubectl get --watch` tells them.

What was true only for a moment (progress, which of two writes came first) is looked up here afterwards instead of
being caught in the act. Resource versions of one cluster come from one counter, so they order changes of different
objects too.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.place import Body, Place


@dataclass(frozen=True)
class History:
    """Files that watches write into, by kind."""

    files: dict[str, Path]

    def versions(self, kind: str, name: str) -> list[Body]:
        """The versions of one object so far, oldest first."""
        return [body for body in self.all(kind) if body["metadata"]["name"] == name]

    def all(self, kind: str) -> list[Body]:
        """All versions of all objects of a kind so far."""
        text, found, decoder, at = self.files[kind].read_text(), [], json.JSONDecoder(), 0
        while at < len(text):
            try:
                event, at = decoder.raw_decode(text, at)
            except ValueError:
                break  # an event that is being written
            found.append(event["object"])
            while at < len(text) and text[at].isspace():
                at += 1
        return found


@contextmanager
def watched(place: Place, folder: Path, kinds: Sequence[str]) -> Iterator[History]:
    """Watches from now on."""
    files = {kind: folder / f"{kind}.json" for kind in kinds}
    processes = []
    try:
        for kind, path in files.items():
            with path.open("w") as output:
                command = ["kubectl", "--namespace", place.namespace, "get", kind]
                command += ["--watch", "--output-watch-events", "--output=json"]
                processes.append(subprocess.Popen(command, env=dict(place.cluster.environment), stdout=output))
        yield History(files)
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def version_of(body: Body) -> int:
    """A number that orders versions of all objects in a cluster."""
    return int(body["metadata"]["resourceVersion"])
