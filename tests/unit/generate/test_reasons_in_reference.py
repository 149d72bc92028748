"""The API reference names every reason: the code is searched for words here, and never parsed as the generator does."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from hack.generate.output import ROOT

pytestmark = pytest.mark.unit

CODE = ROOT / "operator/pgwarden"
REFERENCE = (ROOT / "docs/reference/api.md").read_text()
NAMED = set(re.findall(r"`([A-Za-z]+)(?:=True|=False|=Unknown)?`", REFERENCE))
# Two words in one, as Kubernetes and PostgreSQL write names; not what a dictionary looks up, which others have said.
COMPOUND = re.compile(r'"(?=[A-Z]*[a-z])([A-Z][A-Za-z]*(?:[a-z][A-Z]|[A-Z]{2})[A-Za-z]*)(?<!Task)"(?!:)')
JUDGED = re.compile(
    r'(?:\b(?:ready|in_progress|stalled|Obstacle|TaskError)\(\s*|\bjudge\([\w.]+, [^,"]+, |\breason=)"([A-Za-z]+)"'
)
# A person's shell has no conditions; an archiver's reasons stand in the message of WALArchiving, beside its state.
ELSEWHERE = ("cli/", "kube/person.py", "kube/types.py", "archiving/", "postgres/wal_stream.py")
EVENTS_AND_ENDS = (
    "AdoptedBefore AlreadyCommitted AlreadyRestored BackupCommitted BackupStuck ExpiryPlanned ExpiryRefused FiledBefore"
    " FirstFull FullLost FullTaken HandedOver LaidOut NobodyConnected PartsRestored PrunePlanned ReconcileFailed"
    " ServerSilent StoreWritable"
)
KINDS = "ConfigMap StatefulSet"
STEPS_AND_STATES = (
    "BackOff CountRows DiscardOld HandOver KeepOld LookAtTarget MakeHarmless ShutDown StartInstance StartServer"
    " StartServices StartStandbys ArchiveTimeline StopServer StopServices UnknownKey VerifyFiles"
)
OF_OTHERS = (
    "AlreadyExists BearerToken BlobNotFound CSafeLoader DisruptionTarget IfNotPresent InsufficientPrivilege"
    " InvalidRange KiB MiB NoSuchKey OperationalError PodScheduled ReadWriteMany ReadWriteOnce ReadWriteOncePod"
    " ScaledObject SuccessCriteriaMet"
    " AnyRecord RecordOfSort ReportType ResourceModel RestoreRequestStatus WorkStatusType"
)
NO_REASONS = set(f"{EVENTS_AND_ENDS} {KINDS} {STEPS_AND_STATES} {OF_OTHERS}".split())


def written(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Every word that the code has in such a place, and where."""
    for path in sorted(CODE.rglob("*.py")):
        module = path.relative_to(CODE).as_posix()
        if not module.startswith(ELSEWHERE):
            yield from ((word, module) for word in pattern.findall(path.read_text()))


def test_every_word_that_looks_like_a_reason_is_named() -> None:
    assert {(word, module) for word, module in written(COMPOUND) if word not in NAMED | NO_REASONS} == set()


def test_every_word_in_the_place_of_a_reason_is_named() -> None:
    assert {(word, module) for word, module in written(JUDGED) if word not in NAMED} == set()


def test_what_is_called_no_reason_is_still_written_somewhere() -> None:
    assert NO_REASONS - {word for word, _ in written(COMPOUND)} == set()
