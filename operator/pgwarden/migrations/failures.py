"""Turns what PostgreSQL said about a script into a reason, the place in the file, and what to do now. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgwarden.jobs.errors import TaskError
from pgwarden.migrations.sql import Statement, excerpt, line_of, statement_at, statements
from pgwarden.migrations.steps import Step
from pgwarden.postgres.script import LOST_REMEDY, DatabaseError


@dataclass(frozen=True)
class Failure:
    """Where and why a script failed; becomes part of its row in the history."""

    line: int
    """Counted from 1; 0 when it was no statement of the file that failed."""
    sqlstate: str
    statement: str
    message: str
    detail: str = ""
    """May hold values of rows, so it is kept in the database and goes nowhere else."""


@dataclass(frozen=True)
class Verdict:
    reason: str
    remedy: str
    retryable: bool = False


LOST_OUTCOME = (
    "the server rolls the file back, unless the connection broke in the very moment of its commit: the history tells"
)
CANCELED = "Find out whether statement_timeout is too short for this file, or who cancelled it; run it again."
LATER = "Run it again later; if it happens again, raise the time limit or look for who holds the locks."
LOST = Verdict("ConnectionLost", LOST_REMEDY, retryable=True)
# PostgreSQL documentation, appendix "PostgreSQL Error Codes".
VERDICTS = {
    "25001": Verdict("NeedsNoTransaction", "Run this statement by hand, or in a form that may run in a transaction."),
    "25006": Verdict("ReadOnlyDatabase", "Find out who set default_transaction_read_only, and why."),
    "40001": Verdict("SerializationFailure", LATER, retryable=True),
    "40P01": Verdict("DeadlockDetected", LATER, retryable=True),
    "42501": Verdict("PermissionDenied", "Grant the role what the statement needs, or migrate as the tables' owner."),
    "53100": Verdict("DiskFull", "Make room on the database server's disk, then run it again.", retryable=True),
    "55P03": Verdict("LockTimeout", LATER, retryable=True),
    "57014": Verdict("QueryCanceled", CANCELED, retryable=True),
}
FAILED = Verdict("MigrationFailed", "Correct the file, which is not applied, or the data it stumbles over.")


def describe(step: Step, error: DatabaseError, blockers: Sequence[str] = ()) -> tuple[TaskError, Failure]:
    """The error to end with, and what the history keeps of it.

    `blockers` are the sessions that were last seen to hold what the script waited for.
    """
    failure = locate(step, error)
    verdict = LOST if error.lost else VERDICTS.get(error.sqlstate, FAILED)
    said = failure.message + (f" (SQLSTATE {error.sqlstate})" if error.sqlstate else "")
    if verdict.reason == "LockTimeout" and blockers:
        said += f"; it waited for {', '.join(blockers)}"
    outcome = LOST_OUTCOME if error.lost else "the file was rolled back, those before it stay as they are"
    where = file_and_line(step, failure.line)
    statement = f", in: {failure.statement}" if failure.statement else ""
    message = f"{where}: {said}{statement}; {outcome}"
    return TaskError(verdict.reason, message, remedy=verdict.remedy, retryable=verdict.retryable), failure


def locate(step: Step, error: DatabaseError) -> Failure:
    """Where in the file the error belongs: by its position, else by the number of statements done before."""
    text = step.script.text if step.script else ""
    statement = failing_statement(text, error)
    line = 0
    if statement is not None:
        line = statement.line if error.position is None else line_of(text, error.position)
    return Failure(
        line=line,
        sqlstate=error.sqlstate,
        statement=excerpt(text, statement) if statement else "",
        message="; ".join(filter(None, [error.primary, routine(error.context), error.hint])),
        detail=error.detail,
    )


def failing_statement(text: str, error: DatabaseError) -> Statement | None:
    if error.completed is None:
        return None
    found = statements(text)
    if error.position is not None:
        return statement_at(found, error.position)
    return found[error.completed] if error.completed < len(found) else None


def routine(context: str) -> str:
    """The function and line an error came from; the rest of a context may hold values of rows."""
    first = context.partition("\n")[0]
    return first if first.startswith(("PL/pgSQL function", "SQL function")) else ""


def file_and_line(step: Step, line: int) -> str:
    file = step.script.file if step.script else str(step.migration)
    return f"{file}:{line}" if line else file


def role_refused(role: str, error: DatabaseError) -> TaskError:
    """The role the file was to run as does not exist, or is not one that this session may become."""
    return TaskError(
        "RoleRefused",
        f"nothing was run, because the session cannot become role {role}: {error.primary} (SQLSTATE {error.sqlstate})",
        remedy="Create the role and GRANT it to the one that connects, or correct spec.role of the DatabaseMigration.",
    )


def transaction_lost(step: Step) -> TaskError:
    """The script ended the transaction it ran in, in a way that could not be seen beforehand."""
    return TaskError(
        "TransactionControl",
        f"{file_and_line(step, 0)} ended the transaction it was run in, so part of it may be committed although the "
        "history does not say so",
        remedy="Look at what it did, undo that, and take COMMIT and ROLLBACK out of the file.",
    )


def stopped(what: str) -> TaskError:
    """The runner was told to stop."""
    return TaskError(
        "Stopped",
        f"told to stop (SIGTERM) {what}",
        remedy="The operator starts it again by itself; in a shell, run the command again.",
        retryable=True,
    )
