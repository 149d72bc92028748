"""What a DatabaseBackup of type Logical is made of (`spec.logical`)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pgwarden.api.model import Identifier, Model, ObjectName, Quantity
from pgwarden.api.references import rules

Pattern = Annotated[str, Field(min_length=1, max_length=253)]


class DatabaseSelection(Model):
    """Databases by name."""

    include: Annotated[list[Identifier], Field(max_length=128, json_schema_extra={"x-kubernetes-list-type": "set"})] = (
        Field(default_factory=list)
    )
    """Databases to dump; without them all but templates and those that a cloud provider keeps for itself."""
    exclude: Annotated[list[Identifier], Field(max_length=128, json_schema_extra={"x-kubernetes-list-type": "set"})] = (
        Field(default_factory=list)
    )
    """Databases not to dump."""


class PatternSelection(Model):
    """Schemas or tables by patterns as pg_dump has them: `billing`, `public.event_*`; tables with their schema."""

    include: Annotated[list[Pattern], Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "set"})] = (
        Field(default_factory=list)
    )
    """What is dumped; without it everything. In each database something has to match."""
    exclude: Annotated[list[Pattern], Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "set"})] = (
        Field(default_factory=list)
    )
    """What is not dumped."""


class LogicalFormat(StrEnum):
    CUSTOM = "Custom"
    DIRECTORY = "Directory"


class Scratch(Model):
    """The volume that dumps in directory format are written to before they go into the store."""

    size: Quantity
    """Room for the largest database's dump, compressed."""
    storage_class_name: ObjectName | None = None
    """StorageClass of a volume that is made for the Job and goes with it; without it the node's own disk serves."""


class Logical(Model):
    """How pg_dump is used."""

    databases: DatabaseSelection = Field(default_factory=DatabaseSelection)
    """Which databases."""
    schemas: PatternSelection = Field(default_factory=PatternSelection)
    """Which schemas of them."""
    tables: PatternSelection = Field(default_factory=PatternSelection)
    """Which tables of them. Where tables are included, only these are dumped, without what they depend on."""
    globals: bool = True
    """Also keeps the SQL that makes roles and tablespaces."""
    password_hashes: bool = False
    """Keeps the hashes of the roles' passwords as well; a superuser or a member of pg_read_all_data may read them."""
    format: LogicalFormat = LogicalFormat.CUSTOM
    """Custom: streamed into the store. Directory: several tables at once, by way of a scratch volume."""
    parallel: Annotated[int, Field(ge=1, le=16)] = 1
    """Tables of a database dumped at once; more than 1 with format Directory only."""
    lock_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """How long a dump waits for a table that somebody has locked, before it is tried again later."""
    scratch: Scratch | None = None
    """The scratch volume of format Directory."""


LOGICAL_RULES = rules(
    (
        "self.format == 'Directory' || self.parallel == 1",
        "several tables at once (parallel) need format Directory: only it can be written by several processes",
    ),
    (
        "(self.format == 'Directory') == has(self.scratch)",
        "format Directory needs a scratch volume, and format Custom uses none",
    ),
    ("self.globals || !self.passwordHashes", "passwordHashes are part of globals, which are turned off"),
)
