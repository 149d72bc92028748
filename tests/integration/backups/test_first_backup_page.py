"""docs/first-backup.md, its commands for the database run as they stand there, up to a backup with that role."""

from __future__ import annotations

import os
import re
import subprocess

from pgwarden.jobs.files import StoreLocation
from tests.support.backups import take_backup
from tests.support.cluster import ROOT
from tests.support.postgres import HOST, SUPERUSER_PASSWORD, PostgresServer, bin_dir

PAGE = (ROOT / "docs/first-backup.md").read_text()
PASSWORD = "pasted"


def run(server: PostgresServer, command: str, password: str) -> str:
    """A command of the page, on the test's server."""
    path = f"{bin_dir(server.major)}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", command.replace("host=db.example.com", f"host={HOST} port={server.port}")],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PGPASSWORD": password},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_roles_of_the_page_get_in_and_back_up(postgres: PostgresServer, claim: StoreLocation) -> None:
    commands = re.findall(r"^psql .*$", PAGE, re.MULTILINE)
    scripts = [command for command in commands if " -f docs/sql/" in command]
    assert len(scripts) == 2
    for command in scripts:
        run(postgres, command, SUPERUSER_PASSWORD)
    postgres.execute(f"ALTER ROLE pgwarden_backup PASSWORD '{PASSWORD}'")
    checks = [command for command in commands if "user=pgwarden_backup" in command]
    answers = [run(postgres, command, PASSWORD) for command in checks]
    assert f"PostgreSQL {postgres.major}" in answers[0]
    assert postgres.system_identifier in answers[1]
    _, record = take_backup(postgres.address(user="pgwarden_backup", password=PASSWORD), claim)
    assert record.server.hba.readable
