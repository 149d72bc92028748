"""A part of a logical backup: read from the store, compared with its checksums, selected by its table of contents."""

from __future__ import annotations

import itertools
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.tool_run import ToolFailed, ToolRun
from pgwarden.jobs.tools import environment, find_tool
from pgwarden.logical.record import DatabaseDump, DumpFormat, LogicalRecord
from pgwarden.restores.dump_list import Entry, chosen, entries, left_out_keys, owners_of
from pgwarden.restores.load_trouble import not_in_backup
from pgwarden.restores.loading import Needs
from pgwarden.restores.parts_contract import Part
from pgwarden.storage.layout import join
from pgwarden.storage.objects import read_object
from pgwarden.storage.pipes import ChunkReader
from pgwarden.storage.store import Store


class DumpedPart:
    """One dump, and how pg_restore is to read it."""

    def __init__(self, chunks: StoredDump, needs: Needs, how: Sequence[str]) -> None:
        self.needs = needs
        self._dump = chunks
        self._how = list(how)

    def options(self) -> list[str]:
        return self._how

    def chunks(self) -> Iterator[bytes] | None:
        return self._dump.chunks() if self._dump.folder is None else None


class StoredDump:
    """The dump of one database in the store."""

    def __init__(self, store: Store, location: str, dump: DatabaseDump, identities: Sequence[Any]) -> None:
        self.store = store
        self.location = location
        self.dump = dump
        self.identities = identities
        self.folder: Path | None = None
        """Where a dump in directory format was unpacked."""

    def chunks(self) -> Iterator[bytes]:
        """Its plain contents. Raises TaskError as `read_object`, at the end of an object that was damaged."""
        for each in self.dump.objects:
            yield from read_object(self.store, join(self.location, each.path), each, self.identities)

    def unpack(self, folder: Path) -> None:
        """Unpacks a dump in directory format. Raises TaskError: ScratchFull, DumpUnreadable, and as `chunks`."""
        folder.mkdir()
        chunks = self.chunks()
        try:
            with tarfile.open(fileobj=cast(IO[bytes], ChunkReader(chunks)), mode="r|") as archive:
                archive.extractall(folder, filter="data")
            for _rest in chunks:  # the last checksum is compared at the end
                pass
        except tarfile.TarError as error:
            raise unreadable(self.dump.name, str(error)) from error
        except OSError as error:
            raise TaskError(
                "ScratchFull",
                f"the dump of database {self.dump.name!r} could not be unpacked into {folder}: {error.strerror}",
                remedy="Set target.into.storage.size to more than the backup's plain size in a new RestoreRequest.",
            ) from error
        self.folder = folder


def dumped_part(
    part: Part,
    record: LogicalRecord,
    opened: StoredDump,
    *,
    major: int,
    parallel: int,
    scratch: Path,
    roles: Sequence[str],
    context: AgentContext,
) -> DumpedPart:
    """The part of a backup, ready to be loaded. `roles` are those of the live server and of the backup.

    Raises TaskError: DumpUnreadable, ScratchFull, and what reading objects raises.
    """
    dump = opened.dump
    if dump.format == DumpFormat.DIRECTORY:
        opened.unpack(scratch / f"dump-{record.databases.index(dump)}")
    listing = scratch / f"list-{record.databases.index(dump)}"
    listed = table_of_contents(opened, major, listing, context)
    taken = chosen(listed, part)
    listing.write_text("".join(f"{each.line}\n" for each in taken))
    how = [f"--use-list={listing}"]
    if opened.folder is not None:
        how += [f"--jobs={parallel}", "--format=directory", str(opened.folder)]
    needs = Needs(
        encoding=dump.encoding,
        locale_provider=dump.locale_provider,
        collate=dump.collate,
        ctype=dump.ctype,
        locale=dump.locale,
        collation_version=dump.collation_version,
        owner=dump.owner,
        size_bytes=dump.size_bytes or 0,
        owners=owners_of(taken, roles),
        roles=[],
        extensions={each.name: each.version for each in dump.extensions if each.name != "plpgsql"},
        findings=[
            f"{part.new_name}: privileges and settings of the database itself are those of a new one",
            *(
                f"{part.new_name}: foreign key {each} is left out: it leads to a table that is not restored"
                for each in left_out_keys(listed, taken)
            ),
        ],
    )
    return DumpedPart(opened, needs, how)


def table_of_contents(opened: StoredDump, major: int, listing: Path, context: AgentContext) -> list[Entry]:
    """What is in a dump. Raises TaskError with reason DumpUnreadable, and what reading objects raises."""
    command = [str(find_tool("pg_restore", major)), "--list", "--verbose", f"--file={listing}"]
    folder = opened.folder
    if folder is not None:
        command += ["--format=directory", str(folder)]
    try:
        with ToolRun(command, environment(), lambda _: context.check_stop(), fed=folder is None) as run:
            if folder is None:
                run.feed(opened.chunks(), to_the_end=False)
            else:
                run.finish()
    except ToolFailed as error:
        raise unreadable(opened.dump.name, str(error)) from error
    return entries(listing.read_text(errors="surrogateescape"))


def dump_of(part: Part, record: LogicalRecord) -> DatabaseDump:
    """The dump of a part's database. Raises TaskError with reason DatabaseNotInBackup."""
    found = next((each for each in record.databases if each.name == part.database), None)
    if found is not None:
        return found
    there = ", ".join(itertools.islice((each.name for each in record.databases), 20))
    raise not_in_backup(f"backup {record.backup_id} holds no database {part.database!r}; it holds {there}")


def unreadable(database: str, why: str) -> TaskError:
    return TaskError(
        "DumpUnreadable",
        f"the dump of database {database!r} cannot be read: {why}",
        remedy="It is as it was written, its checksums say. Take another backup; pgwarden backup show tells how this "
        "one is loaded by hand.",
    )
