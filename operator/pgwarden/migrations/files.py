"""Migration files as golang-migrate names them: `<version>_<title>.up.sql` and `<version>_<title>.down.sql`.

Pure: the operator computes from a ConfigMap's data what the agent computes from mounted folders, and both arrive at
the same digest. The format is described in golang-migrate's MIGRATIONS.md; the pattern is
`^([0-9]+)_(.*)\\.(up|down)\\.sql$`, versions are ordered as integers, and one direction alone is allowed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

FILE_NAME = re.compile(r"([0-9]+)_(.*)\.(up|down)\.sql", re.DOTALL)
LONGEST_VERSION = 63
"""Digits; far beyond any time stamp, and what a DatabaseMigration's status has room for."""


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"


class ProblemReason(StrEnum):
    """Why files are refused; also the reason of the TaskError that says so."""

    NO_MIGRATIONS = "NoMigrations"
    DUPLICATE_VERSION = "DuplicateVersion"
    INVALID_FILE_NAME = "InvalidFileName"
    INVALID_ENCODING = "InvalidEncoding"


REMEDIES = {
    ProblemReason.NO_MIGRATIONS: "Check that the sources name the right ConfigMaps or directory.",
    ProblemReason.DUPLICATE_VERSION: "Give every migration a number of its own, also across sources.",
    ProblemReason.INVALID_FILE_NAME: "Rename the file, or take it out of the sources.",
    ProblemReason.INVALID_ENCODING: "Save the file as UTF-8 without byte order mark.",
}


@dataclass(frozen=True)
class Problem:
    """One file that cannot be taken as it is, and why."""

    reason: ProblemReason
    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}" if self.file else self.message


@dataclass(frozen=True)
class Script:
    """The content of one migration file."""

    file: str
    """Path below the folder of sources, or `<ConfigMap>/<key>`: for messages only."""
    title: str
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def checksum(self) -> str:
        """SHA-256 of the bytes, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Migration:
    """One version: a script for each direction, at least one of them. Titles may differ, as in golang-migrate."""

    version: int
    up: Script | None = None
    down: Script | None = None

    @property
    def name(self) -> str:
        """The title of the up script, else that of the down script."""
        script = self.up or self.down
        return script.title if script else ""

    @property
    def checksum(self) -> str:
        """SHA-256 of the up script; that of nothing where there is none."""
        return self.up.checksum if self.up else hashlib.sha256().hexdigest()

    def __str__(self) -> str:
        return f"{self.version} {self.name}".rstrip()


@dataclass
class Parsed:
    """What a set of files holds: migrations in the order of their versions, or what is wrong with the files."""

    migrations: list[Migration] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def parse(files: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> Parsed:
    """Orders files by version. Names may carry a path; only their last part is read.

    Files that do not end in `.sql` are no business of ours and are left out; a `.sql` file with a name that says
    neither version nor direction is refused, because leaving it out would surprise whoever wrote it.
    """
    pairs = sorted(files.items() if isinstance(files, Mapping) else files)
    parsed = Parsed()
    scripts: dict[tuple[int, Direction], Script] = {}
    for path, content in pairs:
        base = path.rsplit("/", 1)[-1]
        if not base.lower().endswith(".sql"):
            continue
        problem = name_problem(base) or content_problem(content)
        if problem:
            parsed.problems.append(Problem(problem[0], path, problem[1]))
            continue
        match = FILE_NAME.fullmatch(base)
        assert match  # noqa: S101 - name_problem has refused every other name
        key = (int(match[1]), Direction(match[3]))
        if key in scripts:
            parsed.problems.append(duplicate(path, scripts[key].file, key))
            continue
        scripts[key] = Script(path, match[2], content)
    parsed.migrations = pair(scripts)
    if not parsed.migrations and not parsed.problems:
        parsed.problems.append(
            Problem(ProblemReason.NO_MIGRATIONS, "", "there is no file named <version>_<title>.up.sql in the sources")
        )
    return parsed


def name_problem(base: str) -> tuple[ProblemReason, str] | None:
    """What is wrong with a file's name, or None."""
    match = FILE_NAME.fullmatch(base)
    if match is None:
        return (
            ProblemReason.INVALID_FILE_NAME,
            "a migration is named <version>_<title>.up.sql or <version>_<title>.down.sql, with a version of digits",
        )
    if len(match[1]) > LONGEST_VERSION:
        return ProblemReason.INVALID_FILE_NAME, f"a version has at most {LONGEST_VERSION} digits"
    if int(match[1]) == 0:
        return (
            ProblemReason.INVALID_FILE_NAME,
            "versions begin at 1; 0 stands for the state before the first migration",
        )
    return None


def content_problem(content: bytes) -> tuple[ProblemReason, str] | None:
    """What is wrong with a file's bytes, or None: PostgreSQL would misread or refuse them, later and less clearly."""
    if content.startswith(b"\xef\xbb\xbf"):
        return (
            ProblemReason.INVALID_ENCODING,
            "begins with a byte order mark, which PostgreSQL takes for a syntax error; save it as UTF-8 without BOM",
        )
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        return ProblemReason.INVALID_ENCODING, f"line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8"
    nul = content.find(b"\0")
    if nul >= 0:
        line = content.count(b"\n", 0, nul) + 1
        return ProblemReason.INVALID_ENCODING, f"line {line}: holds a NUL byte, which SQL text cannot carry"
    return None


def duplicate(path: str, other: str, key: tuple[int, Direction]) -> Problem:
    version, direction = key
    return Problem(
        ProblemReason.DUPLICATE_VERSION,
        path,
        f"version {version} ({direction}) stands in {other} too; give one of them another number",
    )


def pair(scripts: Mapping[tuple[int, Direction], Script]) -> list[Migration]:
    """Migrations in the order of their versions, made of the scripts of both directions."""
    versions = sorted({version for version, _ in scripts})
    return [
        Migration(each, scripts.get((each, Direction.UP)), scripts.get((each, Direction.DOWN))) for each in versions
    ]


def digest(migrations: Iterable[Migration]) -> str:
    """SHA-256, in hexadecimal, over what the migrations are: version, direction, title and content, in order.

    Each part is preceded by its length, so that no two sets of files share the hashed bytes. Where the files
    lie, and leading zeros of a version, make no difference.
    """
    hashed = hashlib.sha256()
    for migration in sorted(migrations, key=lambda each: each.version):
        for direction, script in ((Direction.DOWN, migration.down), (Direction.UP, migration.up)):
            if script is None:
                continue
            for part in (str(migration.version).encode(), direction.encode(), script.title.encode(), script.content):
                hashed.update(len(part).to_bytes(8, "big"))
                hashed.update(part)
    return hashed.hexdigest()
