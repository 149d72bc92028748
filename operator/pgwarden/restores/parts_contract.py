"""What the operator asks of the agents that put parts of a backup into a live server, and what they answer.

Out of a physical backup a pod has the three parts of any restore (contract.py), with these differences: its init
container has the operation `restore-parts`, which looks at the live server before it fetches anything, and its agent
has `recover-parts`, which loads the parts into the live server as soon as the copy is recovered, and hands nothing
over. A logical backup needs no server of its own: one agent with the operation `load-dump` reads it out of the store.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.jobs.files import PRIVATE, SCRATCH, DatabaseAddress, StoreLocation
from pgwarden.jobs.task import ContractModel, Operation, Payload, Report
from pgwarden.restores.contract import RecoverReport, RecoverTask, RestoreTask, StepReport

Name = Annotated[str, Field(min_length=1, max_length=63)]


class TableName(ContractModel):
    """One table by its exact name."""

    schema_name: Name
    table_name: Name


class Part(ContractModel):
    """What is taken out of one database, and the database that is made of it."""

    database: Name
    new_name: Name
    """It must not exist."""
    schemas: list[Name] = Field(default_factory=list)
    tables: list[TableName] = Field(default_factory=list)
    """Without schemas and tables the whole database."""

    @property
    def whole(self) -> bool:
        return not self.schemas and not self.tables


class LiveTarget(ContractModel):
    """The live server, and what is put into it."""

    address: DatabaseAddress
    expected_system_identifier: str = ""
    """The server is refused when it has another one; empty when nothing tells."""
    parts: Annotated[list[Part], Field(min_length=1, max_length=8)]
    without_owners: bool = False
    """Everything belongs to the role that loads it, and nobody is granted anything."""
    private_folder: str = PRIVATE
    """In memory: where the password file is written."""
    patience_seconds: Annotated[int, Field(ge=0)] = 1800
    """How long a recovered copy waits for a person who makes the roles that are missing."""


class PartsTask(RestoreTask):
    """As RestoreTask, after a look at the live server."""

    OPERATION: ClassVar[Operation] = Operation.RESTORE_PARTS

    into: LiveTarget


class RecoverPartsTask(RecoverTask):
    """Recover what PartsTask laid out, check it, load the parts of it into the live server, and stop it."""

    OPERATION: ClassVar[Operation] = Operation.RECOVER_PARTS

    into: LiveTarget


class LoadDumpTask(Payload):
    """Load databases of a logical backup, or parts of them, into a live server."""

    OPERATION: ClassVar[Operation] = Operation.LOAD_DUMP

    request_uid: str
    store: StoreLocation
    location: str
    """Path of the backup's folder inside the store."""
    into: LiveTarget
    scratch_folder: str = SCRATCH
    """Where a dump in directory format is unpacked."""
    parallel: Annotated[int, Field(ge=1, le=16)] = 2
    """Tables loaded at once, out of a dump in directory format."""


class TableRows(Report):
    """How many rows a restored table has."""

    table: str
    """Schema and table, quoted where SQL needs it."""
    rows: int


class PartReport(Report):
    """One database that was made."""

    database: str
    new_name: str
    tables: int
    rows: int
    size_bytes: int
    counts: list[TableRows] = Field(default_factory=list)
    """The tables with the most rows; all of them stand in the pod's log."""


class PartsReport(RecoverReport):
    """Of operation `recover-parts`."""

    parts: list[PartReport] = Field(default_factory=list)


class LoadReport(Report):
    """Of operation `load-dump`."""

    backup_id: str
    system_identifier: str = ""
    parts: list[PartReport] = Field(default_factory=list)
    findings: list[str] = Field(default_factory=list)
    steps: list[StepReport] = Field(default_factory=list)
    repeated: bool = False


def working_name(request_uid: str, new_name: str) -> str:
    """The name of a part's database until it is whole, this request's own and no other's; 49 bytes."""
    digest = hashlib.sha256(f"{request_uid}\0{new_name}".encode()).hexdigest()
    return f"pgwarden_restore_{digest[:32]}"
