"""How PostgreSQL's own tools are told where to connect and as whom: by files, never by arguments or environment.

A connection service file (PostgreSQL documentation: "libpq > The Connection Service File") holds the address, a
password file the password. The folder should lie in memory. Both are gone when the block ends.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg.conninfo

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import connection_parameters

SERVICE = "pgwarden"
FIRST_MAJOR_WITH_REQUIRE_AUTH = 16
"""The libpq of older tools does not know the parameter and would refuse to start."""


@dataclass(frozen=True)
class ClientFiles:
    """Where the two files are."""

    service_file: Path

    def environment(self) -> dict[str, str]:
        """What a tool's environment has to hold beside; no secret is in it."""
        return {"PGSERVICEFILE": str(self.service_file)}

    def connection(self, database: str) -> str:
        """The connection string for one database: names the service and the database, and nothing else."""
        return psycopg.conninfo.make_conninfo("", service=SERVICE, dbname=database)


@contextmanager
def client_files(address: DatabaseAddress, operation: str, folder: Path, major: int) -> Iterator[ClientFiles]:
    """The files, in a new folder below `folder` that only this user may enter; `major` is that of the tools.

    The sessions are called `pgwarden/<operation>`. Raises TaskError: CredentialsMissing, PasswordUnusable.
    """
    parameters = connection_parameters(address, operation)
    parameters.pop("dbname")
    if major < FIRST_MAJOR_WITH_REQUIRE_AUTH:
        parameters.pop("require_auth", None)
    own = Path(tempfile.mkdtemp(prefix="client-", dir=folder))  # 0700
    try:
        passfile = own / "passfile"
        _write(passfile, f"*:*:*:*:{_password(str(parameters.pop('password')))}\n")
        service = {**parameters, "passfile": str(passfile)}
        service_file = own / "service"
        _write(service_file, "".join(["[pgwarden]\n", *(f"{name}={value}\n" for name, value in service.items())]))
        yield ClientFiles(service_file)
    finally:
        shutil.rmtree(own)


def _write(path: Path, text: str) -> None:
    """Creates a file that only this user can read."""
    path.touch(0o600, exist_ok=False)
    path.write_text(text)


def _password(password: str) -> str:
    """A password as a password file has it: backslashes and colons escaped."""
    if "\n" in password or "\r" in password:
        raise TaskError(
            "PasswordUnusable",
            "the password of the backup role holds a line break, which PostgreSQL's own tools cannot be given",
            remedy="Give the role a password without line breaks.",
        )
    return password.replace("\\", "\\\\").replace(":", "\\:")
