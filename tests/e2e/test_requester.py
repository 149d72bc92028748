"""With `admission.requestedBy` nobody asks for a restore in somebody else's name, and cancelling stays everybody's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.place import Place, restore
from tests.support.release import release_for
from tests.support.shell import Shell

pytestmark = pytest.mark.timeout(600)

RULES = [{"apiGroups": ["pgwarden.dev"], "resources": ["restorerequests"], "verbs": ["create", "get", "patch"]}]
WITHIN_SECONDS = 60
"""The API server takes a moment to know of a new policy."""


def asked(shell: Shell, name: str, requester: str) -> str:
    """What the API server says of a request in that name; empty when it takes it."""
    file = shell.folder / f"{name}.json"
    file.write_text(json.dumps(restore(name, "no-such-backup", requestedBy=requester, suspend=True)))
    done = shell.kubectl("create", "--filename", str(file))
    return done.stderr if done.returncode else ""


def test_a_restore_is_asked_for_in_ones_own_name(
    cluster: Cluster, kinds: None, make_place: Callable[[str], Place], tmp_path: Path
) -> None:
    place = make_place("requester")
    jane = Shell.of(place, tmp_path).account("jane", RULES)
    own = f"system:serviceaccount:{place.namespace}:jane"
    with release_for(cluster, place.namespace, "--set", "admission.requestedBy=true"):
        deadline, number = time.monotonic() + WITHIN_SECONDS, 0
        while not (said := asked(jane, f"of-another-{number}", "somebody.else")):
            assert time.monotonic() < deadline, "a request in another's name was taken"
            number += 1
        assert f"spec.requestedBy must be who makes the request: set it to {own}" in said
        assert own in asked(jane, "of-nobody", "")
        assert asked(jane, "own", own) == ""
        place.patch("restorerequest", "own", {"spec": {"cancel": True}})
