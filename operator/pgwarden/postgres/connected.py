"""Who is connected to a server, beside pgwarden itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pgwarden.postgres.connection import Connection

# Every connection of ours names itself pgwarden/<operation>. One that is just being made has no user yet.
CLIENTS = """
    SELECT usename::text, coalesce(datname::text, ''), coalesce(application_name, ''), coalesce(host(client_addr), ''),
        min(backend_start), count(*)
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND usename IS NOT NULL AND application_name NOT LIKE 'pgwarden/%'
    GROUP BY 1, 2, 3, 4
    ORDER BY 6 DESC, 5, 1, 2, 3, 4
"""


@dataclass(frozen=True)
class Client:
    """Connections that somebody holds, all alike."""

    user: str
    database: str
    application: str
    address: str
    """Empty for one that comes through a socket, from the server's own pod."""
    since: datetime
    """When the oldest of them was made."""
    count: int

    def __str__(self) -> str:
        many = f"{self.count} of user" if self.count > 1 else "user"
        application = f", application {self.application}" if self.application else ""
        where = f"from {self.address}" if self.address else "through a socket in the server's own pod"
        return (
            f"{many} {self.user}, database {self.database or 'none'}{application}, {where}, since"
            f" {self.since:%Y-%m-%d %H:%M:%S} UTC"
        )


def clients(connection: Connection) -> list[Client]:
    """Whoever is connected, most connections first; replication is not counted, for it reads only. What other roles do
    is shown to members of pg_monitor. Raises psycopg.Error."""
    return [Client(*row) for row in connection.execute(CLIENTS).fetchall()]
