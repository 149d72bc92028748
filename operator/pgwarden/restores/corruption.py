"""A closer look at a recovered server with pg_amcheck.

Apart from verify.py: whoever lays a backup out speaks to no server, and to load the client library for that takes as
long as to unpack 100 MiB.
"""

from __future__ import annotations

from pgwarden.jobs.agent import AgentContext
from pgwarden.postgres.restored import RestoredServer
from pgwarden.restores.contract import CheckResult
from pgwarden.restores.tools import first_lines, run_tool

AMCHECK_JOBS = 2


def find_corruption(server: RestoredServer, major: int, context: AgentContext) -> CheckResult:
    """What pg_amcheck finds in the tables and B-tree indexes of all databases; it makes the extension where it is
    missing, which only a copy that is thrown away allows.

    An index in another order than the server's collations have is found as well.
    """
    done = run_tool(
        context,
        "pg_amcheck",
        major,
        "--all",
        "--install-missing",
        "--no-password",
        f"--maintenance-db={server.database}",
        f"--jobs={AMCHECK_JOBS}",
        variables=server.variables(),
    )
    detail = first_lines(done.stdout) if done.returncode else "tables and B-tree indexes of all databases are sound"
    return CheckResult(name="amcheck", passed=not done.returncode, detail=detail, built_in=True)
