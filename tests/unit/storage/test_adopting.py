"""The remedy of a foreign archive is a command that can be pasted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.main import get_command

from pgwarden.cli.backup import app
from pgwarden.clusters.access import archive_identity
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.storage.archive import claim_archive
from pgwarden.storage.store import open_store
from tests.support.objects import observed_cluster


def test_the_command_that_adopts_an_archive_names_everything(tmp_path: Path) -> None:
    store = open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path))))
    mine = archive_identity(observed_cluster(), "claims")
    claim_archive(store, mine.model_copy(update={"cluster_uid": "uid-of-the-old-one"}), datetime.now(UTC))
    with pytest.raises(TaskError) as refused:
        claim_archive(store, mine, datetime.now(UTC))
    command = refused.value.remedy.partition("its place: ")[2]
    start = "kubectl pgwarden backup adopt "
    assert command.startswith(start)
    options = "--namespace shop --cluster operational --store claims --from uid-of-the-old-one"
    given = command.removeprefix(start).split()
    assert command == start + options
    known = {word for option in get_command(app).commands["adopt"].params for word in option.opts}  # type: ignore[attr-defined]
    assert known >= set(given[::2])
