"""No password of a connection string leaves in a message, whoever wrote it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import redirect_stderr

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.api.conditions import judge
from pgwarden.api.masking import masked
from pgwarden.jobs.agent import AgentContext
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.plan import Notice
from pgwarden.jobs.task import Operation, Outcome, Result, Task
from pgwarden.kube.events import event
from pgwarden.logs import configure
from pgwarden.postgres.script import DatabaseError
from tests.support.objects import NOW, body

SECRET = "s3cr3t/Pa@ss"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://app:s3cr3t@db/shop", "postgresql://app:***@db/shop"),
        ("to postgres://app:s3/cr@t@db:5432 failed", "to postgres://app:***@db:5432 failed"),
        ("https://:s3cr3t@proxy", "https://:***@proxy"),
        ("host=db password=s3cr3t user=app", "host=db password=*** user=app"),
        ("password = 's3 cr''3\\'t' x", "password = *** x"),
        ('PGPASSWORD="s3 cr3t"; PASSWORD=a\\ b', "PGPASSWORD=***; PASSWORD=***"),
        ("db?user=app&password=s3cr3t&sslmode=require", "db?user=app&password=***&sslmode=require"),
        ("(password=s3cr3t)", "(password=***)"),
        ("password='never closed", "password=***"),
    ],
)
def test_passwords_are_hidden_and_the_rest_stays(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        'password authentication failed for user "app"',
        "postgresql://app@db:5432/shop",
        "http://pgwarden-monitor.shop.svc:8080/observations",
        "backup@2026: done",
        "Check username and password in the credentials Secret.",
    ],
)
def test_what_holds_no_password_stays(text: str) -> None:
    assert masked(text) == text


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=8), st.text(), st.text())
def test_no_password_of_a_uri_survives(secret: str, before: str, after: str) -> None:
    shown = masked(f"{before} postgresql://app:{secret}@db/shop {after}")
    assert secret in before + after + "postgresql://app:***@db/shop" or secret not in shown


@pytest.mark.parametrize("said", [f"postgresql://app:{SECRET}@db", f"password='{SECRET}'"])
def test_it_is_hidden_wherever_texts_leave(said: str) -> None:
    assert SECRET not in str(TaskError("ConnectionFailed", said)) + TaskError("X", "", remedy=said).remedy
    backup = body("DatabaseBackup", "nightly", {})
    error = DatabaseError(said, detail=said, hint=said, context=said)
    assert SECRET not in "".join((error.primary, error.detail, error.hint, error.context, error.message))
    result = Result(outcome=Outcome.FAILED, reason="X", message=said, remedy=said, report={"failed": [{"error": said}]})
    assert SECRET not in result.to_message()
    assert SECRET not in judge("Ready", False, "X", said).message
    assert SECRET not in event(backup, Notice("X", said), NOW)["note"]
    output = io.StringIO()
    task = Task.model_validate(
        {
            "operation": Operation.MIGRATE,
            "nonce": "0123456789abcdef",
            "object": {"kind": "K", "namespace": "n", "name": "x", "uid": "u"},
            "payload": {},
        }
    )
    AgentContext(task, output=output).log(said)
    assert SECRET not in output.getvalue()


@pytest.fixture
def own_logging() -> Iterator[None]:
    """What this test sets up is gone afterwards."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    yield
    root.handlers = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("own_logging")
def test_logs_hold_none_either_whoever_writes_them() -> None:
    written = io.StringIO()
    with redirect_stderr(written):
        configure("INFO")
        said = f"postgresql://app:{SECRET}@db"
        structlog.get_logger().warning("it failed", error=said, also={"deep": [said]})
        try:
            raise ValueError(said)
        except ValueError:
            logging.getLogger("some.library").exception("broke with %s", said)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert len(lines) == 2
    assert lines[0]["error"] == "postgresql://app:***@db"
    assert SECRET not in written.getvalue()
