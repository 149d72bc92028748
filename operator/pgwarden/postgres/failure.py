"""Why a connection failed, layer by layer: credentials file, name, network, TLS, pg_hba.conf, password, database.

libpq gives one text for all layers and, for a refused connection, no SQLSTATE. What the server said is recognised by
its words; when it said nothing, the layers below are tried one after the other until one of them fails as well.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import psycopg

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress

LAYER_TIMEOUT_SECONDS = 5.0
# PostgreSQL documentation, "Message Formats > SSLRequest": length 8 and the code 80877103.
SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
VERIFYING_MODES = ("verify-ca", "verify-full")


@dataclass(frozen=True)
class Verdict:
    """What a server's refusal means. `{...}` in the texts are filled from the address."""

    pattern: re.Pattern[str]
    reason: str
    message: str
    remedy: str
    retryable: bool = False


def _verdict(pattern: str, reason: str, message: str, remedy: str, *, retryable: bool = False) -> Verdict:
    return Verdict(re.compile(pattern, re.IGNORECASE), reason, message, remedy, retryable)


# In order: the first that matches what libpq says wins. The server's sentences stand in PostgreSQL's
# src/backend/{libpq/auth.c,postmaster/postmaster.c,utils/init/postinit.c,replication/walsender.c}.
VERDICTS = (
    _verdict(
        r'authentication method requirement "!password" failed',
        "CleartextPasswordRefused",
        "{server} asks for the password in clear text, and has not proved who it is",
        "Use scram-sha-256 in the server's pg_hba.conf, or tls mode verify-full with tls.ca.",
    ),
    _verdict(
        "server does not support SSL",
        "TLSRefused",
        "{server} does not offer TLS, and tls mode {mode} insists on it",
        "Turn ssl on in the server's postgresql.conf, or choose a tls mode that allows plain connections.",
    ),
    _verdict(
        r"server certificate for .* does not match host name",
        "CertificateNameMismatch",
        "the certificate of {server} was issued for another name than {host}",
        "Connect by a name that stands in the certificate, issue one for {host}, or use tls mode verify-ca.",
    ),
    _verdict(
        r"certificate verify failed|root certificate file .* does not exist|could not read root certificate",
        "CertificateNotTrusted",
        "the certificate of {server} was not signed by an authority in the given CA bundle",
        "Put the certificate of the authority that signed the server's into the CA Secret or ConfigMap.",
    ),
    _verdict(
        "pg_hba.conf rejects|no pg_hba.conf entry",
        "HBARejected",
        "pg_hba.conf of {server} has no rule that lets user {user} connect {what} from here",
        "Add a line such as `{hba_line}` to pg_hba.conf and reload the server.",
    ),
    _verdict(
        "password authentication failed|no password supplied|empty password",
        "PasswordRejected",
        "{server} does not accept the password of user {user} (or has no such user: it doesn't tell)",
        "Check username and password in the credentials Secret against the role in the database.",
    ),
    _verdict(
        r'role "[^"]*" does not exist',
        "RoleNotFound",
        "there is no role {user} on {server}",
        "Create the role, or correct the user name in the credentials Secret.",
    ),
    _verdict(
        "is not permitted to log in",
        "LoginNotPermitted",
        "role {user} on {server} may not log in",
        "ALTER ROLE ... LOGIN, or name another role in the credentials Secret.",
    ),
    _verdict(
        r'database "[^"]*" does not exist',
        "DatabaseNotFound",
        "there is no database {database} on {server}",
        "Create the database, or correct its name: spec.database of the DatabaseMigration, maintenanceDatabase of the "
        "DatabaseCluster.",
    ),
    _verdict(
        "permission denied for database|permission denied to connect to database|does not have CONNECT privilege",
        "ConnectNotPermitted",
        "user {user} may not connect to database {database} on {server}",
        "GRANT CONNECT ON DATABASE ... TO the role.",
    ),
    _verdict(
        "permission denied to start WAL sender|must be superuser or replication role",
        "ReplicationNotPermitted",
        "user {user} on {server} lacks the REPLICATION attribute",
        "ALTER ROLE ... REPLICATION; the script docs/sql/backup-role.sql makes a role that has what backups need.",
    ),
    _verdict(
        "exceeds max_wal_senders",
        "TooManyConnections",
        "all WAL sender slots of {server} are taken",
        "Raise max_wal_senders, or end replication connections that are not needed.",
        retryable=True,
    ),
    _verdict(
        "too many clients|too many connections|remaining connection slots are reserved",
        "TooManyConnections",
        "{server} has no connection slot left for user {user}",
        "Raise max_connections (or the role's or database's connection limit), or end connections that are not needed.",
        retryable=True,
    ),
    _verdict(
        "starting up|not yet accepting connections|in recovery mode|not accepting connections|consistent recovery",
        "ServerStarting",
        "{server} is starting or recovering and takes no connections yet",
        "Wait; when it stays so, the server's log tells what it is replaying or missing.",
        retryable=True,
    ),
    _verdict(
        "shutting down|terminating connection due to administrator command|terminating connection due to unexpected",
        "ServerShuttingDown",
        "{server} is shutting down",
        "Start it again, or wait for it to come back.",
        retryable=True,
    ),
    _verdict(
        r"unsupported startup parameter",
        "PoolerInBetween",
        "{server} is a connection pooler, not PostgreSQL itself",
        "Give the address of the PostgreSQL server: advisory locks, settings and replication do not survive a pooler.",
    ),
)


def diagnose(
    address: DatabaseAddress, error: psycopg.Error, *, database: str | None = None, replication: bool = False
) -> TaskError:
    """The TaskError that tells why `error` happened when connecting to `address`, and what to do about it.

    Reasons: HostNotFound, ConnectionRefused, ConnectionTimedOut, HostUnreachable, TLSRefused, CertificateNotTrusted,
    CertificateNameMismatch, HBARejected, PasswordRejected, RoleNotFound, LoginNotPermitted, DatabaseNotFound,
    ConnectNotPermitted, ReplicationNotPermitted, TooManyConnections, ServerStarting, ServerShuttingDown,
    PoolerInBetween, CredentialsMissing; ConnectionFailed when none of them fits. Takes a few seconds when the network
    has to be asked.
    """
    said = " ".join(str(error).split())
    words = _words(address, database or address.database, replication)
    for verdict in VERDICTS:
        if verdict.pattern.search(said):
            return TaskError(
                verdict.reason,
                f"{verdict.message.format(**words)}: {said}",
                remedy=verdict.remedy.format(**words),
                retryable=verdict.retryable,
            )
    broken = broken_network(address) or broken_tls(address)
    if broken is not None:
        return broken
    return TaskError(
        "ConnectionFailed",
        f"connecting to {words['server']} as {words['user']} failed: {said}",
        remedy="The server's log at that moment tells more.",
        retryable=True,
    )


def broken_network(address: DatabaseAddress) -> TaskError | None:
    """Tries name and TCP; the TaskError of the layer that is broken, or None when the port answers."""
    server = f"{address.host}:{address.port}"
    try:
        socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        return TaskError(
            "HostNotFound",
            f"the name {address.host} cannot be resolved: {error}",
            remedy="Correct the host in the DatabaseCluster, or create the Service or DNS record; "
            "a Service of another namespace is written name.namespace.svc.",
            retryable=True,
        )
    try:
        socket.create_connection((address.host, address.port), timeout=LAYER_TIMEOUT_SECONDS).close()
    except ConnectionRefusedError:
        return TaskError(
            "ConnectionRefused",
            f"nothing listens on {server}",
            remedy="Check the port, that PostgreSQL runs, and its listen_addresses; "
            "for a Service, that it has ready endpoints.",
            retryable=True,
        )
    except TimeoutError:
        return TaskError(
            "ConnectionTimedOut",
            f"{server} did not answer within {LAYER_TIMEOUT_SECONDS:.0f} s",
            remedy="A firewall or NetworkPolicy is the usual cause: let pods of this namespace reach that port.",
            retryable=True,
        )
    except OSError as error:
        return TaskError(
            "HostUnreachable",
            f"{server} cannot be reached: {error.strerror or errno.errorcode.get(error.errno or 0, str(error))}",
            remedy="Check the routes between this pod's node and the database host.",
            retryable=True,
        )
    return None


def broken_tls(address: DatabaseAddress) -> TaskError | None:
    """Asks the server for TLS as libpq would; the TaskError of what is broken, or None."""
    if address.tls_mode not in ("require", *VERIFYING_MODES):
        return None
    server = f"{address.host}:{address.port}"
    try:
        with socket.create_connection((address.host, address.port), timeout=LAYER_TIMEOUT_SECONDS) as plain:
            plain.sendall(SSL_REQUEST)
            if plain.recv(1) != b"S":
                return TaskError(
                    "TLSRefused",
                    f"{server} does not offer TLS, and tls mode {address.tls_mode} insists on it",
                    remedy="Turn ssl on in the server's postgresql.conf, or choose another tls mode.",
                )
            with _tls_context(address).wrap_socket(plain, server_hostname=address.host):
                return None
    except ssl.SSLCertVerificationError as error:
        return TaskError(
            "CertificateNotTrusted",
            f"the certificate of {server} is not trusted: {error.verify_message}",
            remedy="Put the certificate of the authority that signed the server's into the CA Secret or ConfigMap.",
        )
    except OSError as error:
        return TaskError(
            "TLSRefused",
            f"{server} offers TLS, but no session could be agreed: {error}",
            remedy="Compare ssl_min_protocol_version and ssl_ciphers of the server with what clients may use.",
        )


def credentials_missing(path: Path, what: str, error: Exception | None) -> TaskError:
    """The TaskError for a secret file that is not there, empty or unreadable. Its content is never repeated."""
    trouble = "is empty" if error is None else f"cannot be read ({type(error).__name__})"
    return TaskError(
        "CredentialsMissing",
        f"the file {path}, which should hold the {what}, {trouble}",
        remedy=f"Check that the Secret exists and has a key named {path.name}.",
        retryable=True,
    )


def _words(address: DatabaseAddress, database: str, replication: bool) -> dict[str, str]:
    user = _user(address)
    scheme = "hostssl" if address.tls_mode in ("require", *VERIFYING_MODES) else "host"
    wanted = "replication" if replication else database
    return {
        "server": f"{address.host}:{address.port}",
        "host": address.host,
        "mode": address.tls_mode,
        "user": user,
        "database": database,
        "what": "for replication" if replication else f"to database {database}",
        "hba_line": f"{scheme} {wanted} {user} <address of this pod>/32 scram-sha-256",
    }


def _user(address: DatabaseAddress) -> str:
    try:
        return Path(address.username_file).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return "(unknown)"


def _tls_context(address: DatabaseAddress) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=address.ca_file)
    context.check_hostname = address.tls_mode == "verify-full"
    if address.tls_mode not in VERIFYING_MODES:
        context.verify_mode = ssl.CERT_NONE
    return context
