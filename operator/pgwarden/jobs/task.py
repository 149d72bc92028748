"""Task and Result: the contract between the operator and an agent, written once for both sides.

The operator writes a Task as JSON into an annotation of the Job's pod; the downward API makes a file of it. (Never
environment variables or arguments: Kubernetes expands `$(X)` and folds `$$` there, which breaks every DO block.)
The agent writes a Result as JSON into its termination message, which Kubernetes cuts at 4,096 bytes.

Both carry a schema version. An agent refuses a Task with unknown fields, because doing half of what was asked is
worse than doing nothing; the operator ignores unknown fields of a Result. A reader of version N reads N-1.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from pgwarden.api.masking import masked, masked_deep

SCHEMA_VERSION = 1
RESULT_LIMIT = 4096
TASK_ANNOTATION = "pgwarden.dev/task"
TASK_FILE = "/pgwarden/task/task.json"
TERMINATION_FILE = "/dev/termination-log"


class ContractModel(BaseModel):
    """Base of everything inside a Task: unknown fields are an error."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class ReportModel(BaseModel):
    """Base of everything inside a Result: unknown fields are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Operation(StrEnum):
    """What a task does; also the value of the label pgwarden.dev/operation."""

    PROBE_STORE = "probe-store"
    MIGRATE = "migrate"
    BACKUP = "backup"
    RESTORE = "restore"
    RECOVER = "recover"
    DRILL = "drill"
    IN_PLACE = "in-place"
    SEE_CONNECTIONS = "see-connections"
    CATALOGUE = "catalogue"
    LOGICAL_BACKUP = "logical-backup"
    FILE_REPORT = "file-report"
    RESTORE_PARTS = "restore-parts"
    RECOVER_PARTS = "recover-parts"
    LOAD_DUMP = "load-dump"


class ObjectRef(ContractModel):
    """The object on whose behalf a task runs."""

    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Payload(ContractModel):
    """What one operation needs to know; each capability's contract.py derives its own."""

    OPERATION: ClassVar[Operation]


class Report(ReportModel):
    """What one operation tells when it ends; each capability's contract.py derives its own."""


class Task(ContractModel):
    """One task for one agent."""

    schema_version: Annotated[int, Field(ge=SCHEMA_VERSION - 1, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    operation: Operation
    nonce: Annotated[str, Field(min_length=16, max_length=64)]
    """Copied into every progress line, so that lines written by anything else are not believed."""
    object: ObjectRef
    attempt: Annotated[int, Field(ge=1)] = 1
    payload: dict[str, Any]


class Outcome(StrEnum):
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class Result(ReportModel):
    """How a task ended."""

    schema_version: int = SCHEMA_VERSION
    outcome: Outcome
    reason: str
    """CamelCase, for programs."""
    message: str = ""
    """What happened, to which object, why."""
    remedy: str = ""
    """What to do now."""
    retryable: bool = False
    """Whether the same task may succeed later without anybody changing anything."""
    report: dict[str, Any] = Field(default_factory=dict)

    def to_message(self) -> str:
        """The termination message: JSON of at most RESULT_LIMIT bytes, whatever the texts are, without passwords.

        Long texts are cut; the report is kept whole as long as that is possible, then its texts and lists are cut as
        well, and at last it is left out.
        """
        report = encodable(masked_deep(self.report))
        for budget in (1600, 800, 400, 100):
            encoded = self._encoded(budget, report)
            if len(encoded) <= RESULT_LIMIT:
                return encoded.decode()
        for characters, items in ((256, 20), (128, 10), (64, 5)):
            encoded = self._encoded(100, reduced(report, characters, items))
            if len(encoded) <= RESULT_LIMIT:
                return encoded.decode()
        return self._encoded(100, {}).decode()

    def _encoded(self, budget: int, report: Any) -> bytes:
        texts = {
            "reason": shorten(encodable(self.reason), 63),
            "message": shorten(encodable(masked(self.message)), budget),
            "remedy": shorten(encodable(masked(self.remedy)), budget // 2),
        }
        cut = self.model_copy(update={**texts, "report": report})
        return cut.model_dump_json(by_alias=True, exclude_none=True).encode()


class Progress(ReportModel):
    """One line of progress on an agent's standard output."""

    nonce: str
    step: str
    done: int = 0
    total: int = 0
    """0 when unknown."""
    unit: str = "bytes"
    detail: str = ""


def encodable(value: Any) -> Any:
    """`value` with what UTF-8 cannot say (halves of surrogate pairs, from file names) replaced in all its texts."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {encodable(key): encodable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [encodable(each) for each in value]
    return value


def reduced(value: Any, characters: int, items: int) -> Any:
    """`value` with its texts cut to so many characters and its lists to so many items."""
    if isinstance(value, str):
        return shorten(value, characters)
    if isinstance(value, dict):
        return {key: reduced(each, characters, items) for key, each in value.items()}
    if isinstance(value, list):
        return [reduced(each, characters, items) for each in value[:items]]
    return value


def shorten_bytes(text: str, limit: int) -> str:
    """`text` cut to `limit` bytes of UTF-8, with an ellipsis where something was cut."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - len("…".encode())].decode(errors="ignore") + "…"


def shorten(text: str, limit: int) -> str:
    """`text` cut to `limit` characters, with an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
