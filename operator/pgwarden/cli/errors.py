"""How the command line says that something failed, and its exit codes.

0   done, or nothing to do
1   failed; somebody has to do something, and the message says what
2   the command line itself is wrong
3   `--check`: the database does not stand where the files say
75  failed, and may succeed when run again as it is (EX_TEMPFAIL of sysexits.h)
"""

from __future__ import annotations

import sys

from pgwarden.jobs.errors import TaskError

FAILED = 1
USAGE = 2
DIFFERS = 3
TRY_AGAIN = 75


def tell(error: TaskError) -> int:
    """Prints what happened and what to do now to standard error; returns the exit code."""
    print(f"error: {error.reason}: {error.message}", file=sys.stderr)
    if error.remedy:
        print(f"what to do: {error.remedy}", file=sys.stderr)
    return TRY_AGAIN if error.retryable else FAILED
