"""backup.json: what one backup consists of and all that a restore, or a person without pgwarden, must know.

It is written last and thereby commits the backup: a folder without it is leftovers. Pure: no I/O, no clock.
Readers ignore fields they do not know and refuse a schema version above their own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field, model_validator
from pydantic.alias_generators import to_camel

from pgwarden.api.model import LSN, SystemIdentifier
from pgwarden.backups.incremental_floor import below_floor, floor_of, release
from pgwarden.jobs.errors import TaskError
from pgwarden.storage.layout import ObjectPath

RECORD_VERSION = 1
BackupId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][-A-Za-z0-9._]{0,62}$")]
"""`<YYYYMMDDTHHMMSSZ>-<full|incr|logical>-<hash>`: the name of a folder below `backups/`."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RecordModel(BaseModel):
    """Base of everything inside backup.json: camelCase, unknown fields ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class StoredObject(RecordModel):
    """One object of the backup: one age file (where encrypted) around one zstd frame around plain bytes."""

    path: ObjectPath
    """Path inside the backup's folder, for example `attempt-1-0a1b2c3d/base.tar.zst.00000.age`."""
    plain_bytes: Annotated[int, Field(ge=0)]
    """Size after decryption and decompression."""
    plain_sha256: Sha256 | None = None
    """None for the pieces of archives: stored_sha256, the frame's own checksum and the manifest's SHA-256 of every file
    prove as much, and hashing all plain bytes once more costs half a second of CPU for each GiB."""
    stored_bytes: Annotated[int, Field(ge=0)]
    """Size as it lies in the store."""
    stored_sha256: Sha256


class ArchiveObject(StoredObject):
    """A piece of a tar archive. The plain contents of all pieces, one after the other, are the archive."""

    offset: Annotated[int, Field(ge=0)]
    """Where in the plain archive this piece begins."""
    starts_member: bool
    """True when the piece begins with the header of a tar member. Such a piece and those after it, up to the next
    with True, are a tar stream that can be unpacked on its own: that is how archives are unpacked in parallel."""
    first_member: str = ""
    """Name of that member; empty when the piece begins inside one."""


class Archive(RecordModel):
    """One tar archive as BASE_BACKUP sent it: PGDATA, or the contents of one tablespace."""

    tablespace_oid: int | None = None
    """OID of the tablespace; None for PGDATA ("base"), which also holds tablespace_map, backup_label and pg_wal."""
    plain_bytes: Annotated[int, Field(ge=0)]
    objects: Annotated[list[ArchiveObject], Field(min_length=1)]

    @property
    def name(self) -> str:
        return "base" if self.tablespace_oid is None else str(self.tablespace_oid)

    def independent_runs(self) -> list[list[ArchiveObject]]:
        """The pieces in groups that can be unpacked independently of each other, in order."""
        runs: list[list[ArchiveObject]] = []
        for piece in self.objects:
            if piece.starts_member or not runs:
                runs.append([])
            runs[-1].append(piece)
        return runs


class Tablespace(RecordModel):
    """A tablespace outside PGDATA."""

    oid: int
    name: str
    location: str
    """Folder on the original server. A copy must never use it."""
    estimated_bytes: int


class Setting(RecordModel):
    """A server setting that is not at its default."""

    name: str
    source: str
    """As in pg_settings.source."""
    value: str | None = None
    """As SHOW prints it; None when it was left out because it may hold a secret."""


class RuleFile(RecordModel):
    """The rules of pg_hba.conf or pg_ident.conf, as far as the role could read them."""

    readable: bool
    why_not: str = ""
    rules: list[str] = Field(default_factory=list)
    """One line each, as it would be written into the file; secrets among the options are left out."""


class Extension(RecordModel):
    name: str
    version: str


class DatabaseFacts(RecordModel):
    """What every record tells of a database: what it takes to make it anew, and how large it was."""

    name: str
    encoding: str
    locale_provider: str
    """libc, icu or builtin."""
    collate: str
    ctype: str
    locale: str | None = None
    """The provider's own locale name, where it has one."""
    collation_version: str | None = None
    """Version the database's text was sorted with."""
    size_bytes: int | None = None
    """On the server's disk, indexes included; None where the role may not ask."""


class Database(DatabaseFacts):
    """One database of the cluster."""

    oid: int
    extensions: list[Extension] | None = None
    """None where the role could not connect."""
    why_no_extensions: str = ""


class Server(RecordModel):
    """The server the backup was taken from."""

    version: str
    """For example `17.10`."""
    version_num: int
    """For example 170010."""
    version_text: str
    """What version() says: compiler, operating system."""
    block_size: int
    wal_segment_bytes: int
    data_checksums: bool
    data_directory: str | None = None
    """None where the role may not ask."""
    data_directory_mode: str
    """Octal, for example 0700."""
    owner_uid: int | None = None
    """Numeric owner of the files in PGDATA, as the archive says."""
    owner_gid: int | None = None
    from_standby: bool = False
    bootstrap_superuser: str | None = None
    """Name of the role with OID 10, which initdb made and which cannot be dropped: a restore connects as it."""
    settings: list[Setting] = Field(default_factory=list)
    hba: RuleFile
    ident: RuleFile
    databases: list[Database] = Field(default_factory=list)


class Authentication(RecordModel):
    """Who wrote the record: age does not say."""

    key_id: str
    """Which key: the beginning of its SHA-256."""
    hmac_sha256: Sha256
    """HMAC-SHA-256 of the record without this field, as `pgwarden.storage.authenticity` makes it."""


class Record(RecordModel):
    """What backup.json tells of every sort of backup: it stands before what one sort has for itself."""

    WHAT: ClassVar[str]
    """The sort, for messages: "is not <what>"."""

    schema_version: Annotated[int, Field(ge=1)] = RECORD_VERSION
    pgwarden_version: str
    backup_id: str
    attempt: int
    type: str
    policy: str = ""
    """Name of the BackupPolicy that asked for it; empty when a person did."""
    cluster_uid: str
    """UID of the DatabaseCluster the archive belongs to."""
    start_time: datetime
    """By the clock of the primary, as are its commits and the archive's moments; that of a dump by the agent's."""
    stop_time: datetime
    recipients: list[str] = Field(default_factory=list)
    """age recipients the objects are encrypted to; empty means not encrypted."""
    compression: str
    """For example `zstd level 3`."""
    restore_by_hand: list[str]
    """A bash script, line by line, that restores the backup with age, zstd, tar and PostgreSQL's own tools."""
    authentication: Authentication | None = None
    """None when it was written without the store's catalogue key."""

    @property
    @abstractmethod
    def objects(self) -> Sequence[StoredObject]:
        """Every object of the backup beside backup.json itself."""

    @property
    def encrypted(self) -> bool:
        return bool(self.recipients)

    @property
    def plain_bytes(self) -> int:
        return sum(stored.plain_bytes for stored in self.objects)

    @property
    def stored_bytes(self) -> int:
        return sum(stored.stored_bytes for stored in self.objects)

    def authenticated(self, authentication: Mapping[str, str]) -> Self:
        """The record with that field, as `pgwarden.storage.authenticity` makes it."""
        return self.model_copy(update={"authentication": Authentication.model_validate(authentication)})

    def to_bytes(self) -> bytes:
        """The content of backup.json: indented, because people read it on a bad night."""
        return self.model_dump_json(by_alias=True, indent=2, exclude_none=True).encode() + b"\n"


AnyRecord = TypeVar("AnyRecord", bound=Record)


class BackupRecord(Record):
    """backup.json of a physical backup; that of a logical one (`type` "logical") has another form."""

    WHAT = "a backup record"

    type: Literal["full", "incremental"] = "full"
    parent_id: BackupId | None = None
    """Incrementals: the backup in the same archive that it holds the changes since."""
    chain: list[BackupId] = Field(default_factory=list)
    """Incrementals: all backups that a restore needs beside this one, the full first, the parent last."""
    chain_version_num: int | None = None
    """Incrementals: the lowest version that a backup of the chain was taken with."""
    system_identifier: SystemIdentifier
    timeline: int
    start_lsn: LSN
    stop_lsn: LSN
    damaged: bool = False
    """The server found pages with wrong checksums: keep it, but never rely on it."""
    damage: str = ""
    """What the server said about them."""
    carries_wal: bool = True
    """The WAL from start_lsn to stop_lsn lies in pg_wal of the base archive."""
    server: Server
    archives: Annotated[list[Archive], Field(min_length=1)]
    """Tablespaces first, PGDATA last, in the order the server sent them."""
    manifest: StoredObject
    """PostgreSQL's backup_manifest, with SHA-256 of every file."""
    manifest_files: int
    """How many files the manifest lists; each was seen in an archive with the listed size."""
    tablespaces: list[Tablespace] = Field(default_factory=list)
    catalogue_recipient: str = ""
    """age recipient that the manifest alone is encrypted to as well, so that incrementals can be taken on it."""

    @model_validator(mode="after")
    def _has_a_chain_where_it_needs_one(self) -> Self:
        if self.type == "full" and (self.parent_id is not None or self.chain):
            raise ValueError("a full backup has no parent")
        if self.type == "incremental" and (not self.chain or self.chain[-1] != self.parent_id):
            raise ValueError("the chain of an incremental backup ends with its parent")
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def untrusted(self) -> bool:
        """An incremental of a server that is now known to have missed changes: kept, never relied on, never a parent.

        Judged anew by every reader, because the fault may become known after the backup was taken.
        """
        return bool(self.untrusted_reason)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def untrusted_reason(self) -> str:
        """Why it is untrusted; empty when it is not. Full backups are not concerned."""
        if self.type == "full":
            return ""
        oldest = min(self.server.version_num, self.chain_version_num or self.server.version_num)
        if not below_floor(oldest):
            return ""
        return (
            f"it holds changes that PostgreSQL {release(oldest)} told of: incremental backups are to be trusted "
            f"from {floor_of(oldest)} on"
        )

    @property
    def reliable(self) -> bool:
        """Whether a restore may begin with it and an incremental may be taken on it."""
        return not self.damaged and not self.untrusted

    @property
    def objects(self) -> list[StoredObject]:
        return [*(piece for archive in self.archives for piece in archive.objects), self.manifest]


def read_record(content: bytes, name: str) -> BackupRecord:
    """The record of a physical backup; as `read_as`."""
    return read_as(BackupRecord, content, name)


def read_as(sort: type[AnyRecord], content: bytes, name: str) -> AnyRecord:
    """The record in `content`, which was read from the object `name`.

    Raises TaskError: RecordTooNew when a later pgwarden wrote it, ObjectDamaged when it is not a record of that sort.
    """
    try:
        version = _Versioned.model_validate_json(content).schema_version
        if version <= RECORD_VERSION:
            return sort.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TaskError(
            "ObjectDamaged",
            f"{name} is not {sort.WHAT}: {where}: {first['msg']}",
            remedy="Restore from another backup; look at who else writes into the store.",
        ) from error
    raise TaskError(
        "RecordTooNew",
        f"{name} has schema version {version}; this pgwarden reads up to {RECORD_VERSION}",
        remedy="Use the version of pgwarden that wrote the backup, or a later one.",
    )


class _Versioned(RecordModel):
    """The one field that every version has."""

    schema_version: Annotated[int, Field(ge=1)]
