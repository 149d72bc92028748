"""`pgwarden migrate` as a person runs it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import HOST, SUPERUSER, SUPERUSER_PASSWORD, PostgresServer, wait_until

OPERATOR = Path(__file__).parents[3] / "operator"
COMMAND = [sys.executable, "-m", "pgwarden", "migrate"]


class Shell:
    """Runs the command against one database, with libpq's environment variables."""

    def __init__(self, postgres: PostgresServer, database: str, source: Path) -> None:
        self.source = source
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
            **postgres.environment(database),
            "PYTHONPATH": str(OPERATOR),
        }

    def write(self, name: str, content: str) -> None:
        (self.source / name).write_text(content)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        command = [*COMMAND, arguments[0], "--source", str(self.source), *arguments[1:]]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.environment, text=True, **(pipes | options))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors


@pytest.fixture
def shell(postgres: PostgresServer, database: str, tmp_path: Path) -> Shell:
    shell = Shell(postgres, database, tmp_path)
    shell.write("0001_users.up.sql", "CREATE TABLE users (id int);")
    shell.write("0001_users.down.sql", "DROP TABLE users;")
    shell.write("0002_orders.up.sql", "CREATE TABLE orders (id int);")
    shell.write("0002_orders.down.sql", "DROP TABLE orders;")
    return shell


def test_status_plan_up_and_down_tell_one_story(shell: Shell) -> None:
    code, output, _ = shell.run("status")
    assert code == 0
    assert output.startswith("VERSION  NAME    STATE    APPLIED AT (UTC)  DURATION  CHECKSUM\n")
    assert output.splitlines()[1].split() == ["1", "users", "pending", "-", "-", "-"]
    assert shell.run("status", "--check")[0] == 3

    code, output, _ = shell.run("plan")
    assert code == 0
    assert "apply 1 users (0001_users.up.sql)\napply 2 orders (0002_orders.up.sql)\n" in output
    assert shell.run("plan", "--check")[0] == 3

    code, output, errors = shell.run("up", "--to", "1")
    assert (code, "applied 1 migration" in output) == (0, True), errors
    code, output, errors = shell.run("up")
    assert (code, "at version 2" in output, "applying 2 orders (1 of 1)" in errors) == (0, True, True)
    code, output, _ = shell.run("up")
    assert (code, output.startswith("nothing to do")) == (0, True)
    assert shell.run("status", "--check")[0] == 0
    assert shell.run("plan", "--check")[0] == 0

    code, output, errors = shell.run("down", "--to", "0", "--yes")
    assert (code, "reverted 2 migrations" in output) == (0, True), errors
    assert "reverting 2 orders (1 of 2)" in errors


def test_json_is_for_programs(shell: Shell) -> None:
    shell.run("up", "--to", "1")
    status = json.loads(shell.run("status", "--json")[1])
    assert status["currentVersion"] == "1"
    assert [(each["version"], each["state"], each["checksumMatches"]) for each in status["migrations"]] == [
        ("1", "applied", True),
        ("2", "pending", None),
    ]
    assert json.loads(shell.run("plan", "--json")[1])["steps"] == [
        {"version": "2", "name": "orders", "file": "0002_orders.up.sql"}
    ]
    shell.write("0002_orders.up.sql", "SELECT oops")
    code, output, _ = shell.run("up", "--json")
    result = json.loads(output)
    assert (code, result["error"]["reason"]) == (1, "MigrationFailed")
    assert (result["currentVersion"], result["pending"]) == ("1", 1)


def test_an_edited_file_stands_out(shell: Shell) -> None:
    shell.run("up")
    shell.write("0001_users.up.sql", "CREATE TABLE users (id bigint);")
    code, output, _ = shell.run("status", "--check")
    assert (code, output.splitlines()[1].split()[-1]) == (3, "CHANGED")
    code, _, errors = shell.run("up")
    assert code == 1
    assert "error: ChecksumMismatch: 0001_users.up.sql changed" in errors and "what to do: " in errors


def test_down_is_not_done_unless_confirmed(shell: Shell) -> None:
    shell.run("up")
    code, _, errors = shell.run("down", "--to", "0")
    assert (code, "NotConfirmed" in errors, "nothing was changed" in errors) == (1, True, True)
    assert "at version 2" in shell.run("up")[1]


@pytest.mark.parametrize(("answer", "version"), [("y\n", "1"), ("n\n", "2")])
def test_down_asks_in_a_terminal(shell: Shell, answer: str, version: str) -> None:
    shell.run("up")
    ours, theirs = pty.openpty()
    process = shell.start("down", "--to", "1", stdin=theirs)
    os.write(ours, answer.encode())
    _, errors = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert "Revert 1 migration in database" in errors and "2 orders" in errors
    assert process.returncode == (0 if version == "1" else 1)
    # Whoever said no needs no advice to say yes.
    assert ("nothing was changed" in errors, "answer yes" in errors) == (version == "2", False)
    assert json.loads(shell.run("status", "--json")[1])["currentVersion"] == version


def test_a_terminal_gets_a_table(shell: Shell) -> None:
    shell.run("up", "--to", "1")
    ours, theirs = pty.openpty()
    process = shell.start("status", stdout=theirs, stderr=subprocess.DEVNULL)
    assert process.wait(60) == 0
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 65536):
            output += chunk
    except OSError:  # the other end of a pty that is closed
        pass
    os.close(ours)
    assert "┏" in output.decode() and "orders" in output.decode()


def test_a_wrong_password_and_an_unreadable_dsn_are_said_without_showing_secrets(
    shell: Shell, postgres: PostgresServer
) -> None:
    dsn = f"postgresql://{SUPERUSER}:hunter2@{HOST}:{postgres.port}/postgres"
    code, output, errors = shell.run("status", "--dsn", dsn)
    assert (code, "password authentication failed" in errors) == (1, True)
    assert "hunter2" not in output + errors
    code, output, errors = shell.run("status", "--dsn", "password=hunter2 nonsense")
    assert (code, "InvalidDsn" in errors) == (1, True)
    assert "hunter2" not in output + errors


def test_the_password_comes_from_a_password_file(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> None:
    password_file = tmp_path_factory.mktemp("home") / "pgpass"
    password_file.write_text(f"*:*:*:{SUPERUSER}:{SUPERUSER_PASSWORD}\n")
    password_file.chmod(0o600)
    del shell.environment["PGPASSWORD"]
    assert shell.run("status")[0] != 0
    shell.environment["PGPASSFILE"] = str(password_file)
    code, _, errors = shell.run("status")
    assert code == 0, errors


def test_ctrl_c_rolls_the_running_file_back_and_says_so(shell: Shell, postgres: PostgresServer, database: str) -> None:
    shell.write("0003_slow.up.sql", "CREATE TABLE slow (); SELECT pg_sleep(600);")
    process = shell.start("up")

    def sleeping() -> bool:
        with postgres.connect(database) as connection:
            query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
            return connection.execute(query).fetchone() is not None

    wait_until(sleeping, "the migration was not seen running")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "while 3 slow ran; that file was rolled back" in errors
    assert json.loads(shell.run("status", "--json")[1])["currentVersion"] == "2"


def test_several_folders_are_one_set(shell: Shell, tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "0003_more.up.sql").write_text("CREATE TABLE more ();")
    (tmp_path / "main").mkdir()
    for path in list(tmp_path.glob("*.sql")):
        path.rename(tmp_path / "main" / path.name)
    shell.source = tmp_path / "main"
    code, output, errors = shell.run("up", "--source", str(extra))
    assert (code, "at version 3" in output) == (0, True), errors
