"""Reads migration files from folders: mounted ConfigMaps, or a directory of a checkout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pgwarden.jobs.errors import TaskError
from pgwarden.migrations.files import REMEDIES, Migration, Problem, digest, parse

SHOWN_PROBLEMS = 5


def read(*folders: Path, expected_digest: str | None = None) -> list[Migration]:
    """The migrations in the folders and in their subfolders, one for each source, ordered by version.

    Raises TaskError: SourceUnreadable, SourceChanged when their digest is not the expected one, and the reasons of
    `ProblemReason`, naming the files.
    """
    try:
        found = {label(path, folder, folders): path.read_bytes() for folder in folders for path in sql_files(folder)}
    except OSError as error:
        raise TaskError(
            "SourceUnreadable",
            f"the migration files cannot be read: {error.strerror or error}: {error.filename}",
            remedy="Check that the directory, or the ConfigMap mounted there, exists and may be read.",
        ) from error
    parsed = parse(found)
    if parsed.problems:
        raise refused(parsed.problems)
    if expected_digest is not None and digest(parsed.migrations) != expected_digest:
        raise TaskError(
            "SourceChanged",
            "the migration files are not the ones this task was made for: they changed between planning and starting",
            remedy="The operator plans again with the new files by itself.",
            retryable=True,
        )
    return parsed.migrations


def label(path: Path, folder: Path, folders: Sequence[Path]) -> str:
    """What messages call a file: its path below the only folder, or its whole path when there are several."""
    return str(path.relative_to(folder) if len(folders) == 1 else path)


def sql_files(folder: Path) -> Iterator[Path]:
    """The .sql files of a folder and of its subfolders, one level deep.

    Names that begin with a dot are passed over: a mounted ConfigMap holds its files a second time in
    `..<time stamp>`, reached through the link `..data`.
    """
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from (
                path
                for path in sorted(entry.iterdir())
                if not path.name.startswith(".") and path.name.lower().endswith(".sql") and path.is_file()
            )
        elif entry.name.lower().endswith(".sql"):
            yield entry


def refused(problems: Sequence[Problem]) -> TaskError:
    """The error that names the files; its reason is that of the first problem."""
    first = problems[0]
    shown = "; ".join(str(problem) for problem in problems[:SHOWN_PROBLEMS])
    more = f"; and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    return TaskError(
        first.reason.value, f"the migration files are refused: {shown}{more}", remedy=REMEDIES[first.reason]
    )
