"""Hides passwords in texts that others wrote: what PostgreSQL, libpq or a tool says may hold a connection string.

Pure. It is applied where texts leave: errors of tasks, results of Jobs, conditions, Events, logs. So a message that
nobody thought of is covered as well.
"""

from __future__ import annotations

import re
from typing import Any

MASK = "***"

# scheme://user:password@host. To the last @: passwords that should have been percent-encoded hold / and @ as well.
IN_URI = re.compile(r"([a-z][a-z0-9+.-]*://[^\s:/@]*:)\S*@", re.IGNORECASE)
# Keywords and values as in libpq's connection strings, with '' or \' inside quotes; also PGPASSWORD=, sslpassword=
# and what stands in a URI's query.
IN_KEYWORD = re.compile(
    r"(password\s*=\s*)('(?:[^'\\]|\\.|'')*'?|\"(?:[^\"\\]|\\.)*\"?|(?:\\.|[^\s,;&)])+)", re.IGNORECASE | re.DOTALL
)


def masked(text: str) -> str:
    """`text` with the passwords of connection strings replaced."""
    return IN_KEYWORD.sub(rf"\1{MASK}", IN_URI.sub(rf"\1{MASK}@", text))


def masked_deep(value: Any) -> Any:
    """`value` with all texts in it masked, at any depth of JSON."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {name: masked_deep(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked_deep(each) for each in value]
    return value
