"""The report of a restore lies in the archive once, as it was first written, and sealed where backups are."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest

from pgwarden.jobs.agent import AgentContext, perform
from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import ObjectRef, Operation, Result, Task
from pgwarden.restores.contract import FileReportTask
from pgwarden.storage.archive import claim_archive
from pgwarden.storage.store import open_store
from tests.support.archive import ARCHIVE
from tests.support.backups import IDENTITY, NONCE
from tests.support.s3 import S3Server

UID = "0e9e8f6c-5f0b-4b7e-9f39-0d1f2c3b4a59"
TEXT = "# Restore of operational: completed\n\n| ä | ✓ |\n"
PATH = f"{ARCHIVE}/restores/{UID}/report.md"


def filed(store: StoreLocation, text: str = TEXT) -> Result:
    payload = FileReportTask(store=store, archive=ARCHIVE, request_uid=UID, text=text)
    task = Task(
        operation=Operation.FILE_REPORT,
        nonce=NONCE,
        object=ObjectRef(kind="RestoreRequest", namespace="shop", name="rescue", uid=UID),
        payload=payload.model_dump(mode="json", by_alias=True),
    )
    return perform(task, AgentContext(task, output=io.StringIO()))


@pytest.fixture(params=["claim", "bucket"])
def archive(request: pytest.FixtureRequest, claim: StoreLocation, s3: S3Server) -> StoreLocation:
    """A store with the archive of a cluster."""
    store = claim if request.param == "claim" else s3.location(s3.new_bucket(), prefix="team/a")
    claim_archive(open_store(store), IDENTITY, datetime.now(UTC))
    return store


def test_it_is_written_once_and_never_over_itself(archive: StoreLocation) -> None:
    first = filed(archive)
    assert (first.outcome, first.reason, first.report["path"]) == ("Succeeded", "Filed", PATH)
    again = filed(archive, "another text")
    assert (again.outcome, again.reason, again.report["path"]) == ("Succeeded", "FiledBefore", PATH)
    assert open_store(archive).read_small(PATH).decode() == TEXT


def test_it_is_sealed_where_backups_are(archive: StoreLocation) -> None:
    identity = pyrage.x25519.Identity.generate()
    sealed = archive.model_copy(update={"recipients": [str(identity.to_public())]})
    assert filed(sealed).report["path"] == f"{PATH}.age"
    content = open_store(archive).read_small(f"{PATH}.age")
    assert TEXT.encode() not in content
    assert pyrage.decrypt(content, [identity]).decode() == TEXT


def test_no_archive_is_made_for_a_report(claim: StoreLocation) -> None:
    result = filed(claim)
    assert (result.outcome, result.reason, result.retryable) == ("Failed", "ArchiveNotFound", False)
    assert claim.claim is not None
    assert not list(Path(claim.claim.path).rglob("report.md"))
