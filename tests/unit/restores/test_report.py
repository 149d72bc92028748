"""The incident report: what stands in it, whatever the request holds; never longer than it may be, always the same."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.jobs.state import JobPhase
from pgwarden.restores.contract import CheckResult
from pgwarden.restores.filing import held_true
from pgwarden.restores.report import MOST_BYTES, Origin, incident_report, window_lost
from pgwarden.restores.resource import RestoreRequest
from pgwarden.restores.told import MOST_CHECKS, with_told
from tests.support.objects import NOW, Body, attempt, condition, failure, job_state, restore_request, success

ORIGIN = Origin("operational", "claim/backups", verified=False)
RESOLVED: Body = {
    "target": "2026-11-23T11:30:00Z on timeline 1",
    "backupID": "20261123T010000Z-full-0123456789",
    "chain": ["20261123T010000Z-full-0123456789"],
    "timeline": 1,
    "lsn": "0/6000000",
    "knownUntil": "2026-11-23T11:52:30Z",
}
STEPS = [
    {"name": "Resolve", "state": "Done", "startTime": "2026-11-23T11:54:00Z", "completionTime": "2026-11-23T11:54:02Z"}
    | {"message": "2026-11-23T11:30:00Z on timeline 1, from backup 20261123T010000Z-full-0123456789"},
    {"name": "Fetch", "state": "Done", "startTime": "2026-11-23T11:54:02Z", "completionTime": "2026-11-23T11:55:32Z"},
    {"name": "Check", "state": "Failed", "startTime": "2026-11-23T11:55:32Z"},
]
DONE: Body = {
    "attempts": [attempt()],
    "steps": STEPS,
    "resolved": RESOLVED,
    "restoredTo": "0/6000110",
    "restoredTime": "2026-11-23T11:30:00Z",
    "timeline": 2,
    "host": "rescued.shop.svc",
    "secretName": "rescued-superuser",
    "location": "shop/operational/0001/backups/20261123T010000Z-full-0123456789",
    "startTime": "2026-11-23T11:54:00Z",
    "completionTime": "2026-11-23T11:56:00Z",
    "durationSeconds": 120.0,
    "checks": [{"name": "organizations are there", "passed": True, "answer": "t"}],
    "findings": [
        "prepared transaction pending-17",
        "database app: subscription disabled, its slot left to the original: feed",
    ],
    "conditions": [condition("Ready", "True", "Completed", message="rescued.shop.svc:5432 answers")],
}
FAILED: Body = {
    "attempts": [attempt(1), attempt(2)],
    "steps": STEPS,
    "secretName": "rescued-superuser",
    "conditions": [
        condition("Ready", "False", "CheckFailed", message="check 'a' failed. Look at what failed"),
        condition("Stalled", "True", "CheckFailed"),
    ],
}


def finished(**status: Any) -> RestoreRequest:
    source = {"policyRef": {"name": "operational"}, "target": {"time": "2026-11-23T11:30:00Z"}}
    return restore_request(status={**DONE, **status}, source=source, requestedBy="jane@example.com")


def test_it_says_what_was_done_with_what_and_for_whom() -> None:
    text = incident_report(finished(), ORIGIN)
    for part in (
        "# Restore of operational: completed (Completed)",
        "| asked by | jane@example.com (not verified) |",
        "no admission policy held `spec.requestedBy` true",
        "| took | 2m |",
        "| restore point wanted | time 2026-11-23 11:30:00 UTC, out of the archive |",
        "| understood as | 2026-11-23T11:30:00Z on timeline 1 |",
        "| restore point reached | 0/6000110 on timeline 2, data of 2026-11-23 11:30:00 UTC |",
        "| data window lost | 22m30s: from 2026-11-23 11:30:00 UTC to 2026-11-23 11:52:30 UTC,",
        "| Fetch | Done | 2026-11-23 11:54:02 UTC | 1m30s |",
        "| organizations are there | passed | t |",
        "- prepared transaction pending-17",
        "- [ ] End the prepared transactions: COMMIT PREPARED or ROLLBACK PREPARED",
        "- [ ] Decide about the subscriptions that were disabled",
        "- [ ] Point the applications to rescued.shop.svc",
    ):
        assert part in text, part
    assert "foreign servers" not in text, "nothing was found of the sort"


def test_what_the_image_lacks_is_a_check_to_look_at_and_something_to_do() -> None:
    lacking = {"name": "collations", "passed": False, "answer": "text", "builtIn": True, "advisory": True}
    found = [
        'database app: another version of collation pg_catalog."default" (1; the server has 2) ordered public.a',
        "database app: rebuild: REINDEX INDEX CONCURRENTLY public.a",
        "database app: extension postgis is not in the server's image",
    ]
    text = incident_report(finished(checks=[lacking], findings=found), ORIGIN)
    assert "| collations | look at it | text |" in text
    assert "- database app: rebuild: REINDEX INDEX CONCURRENTLY public.a" in text
    assert "- [ ] Give the server an image with the extensions and libraries that are missing" in text
    assert "- [ ] Rebuild the indexes that are in the order of another version of a collation" in text


def test_who_asked_is_verified_where_a_policy_held_it_true() -> None:
    text = incident_report(finished(), Origin("operational", "claim/backups", verified=True))
    assert "| asked by | jane@example.com (verified) |" in text
    assert "no admission policy" not in text


def test_one_of_a_restore_that_failed_says_what_is_left_to_do() -> None:
    text = incident_report(restore_request(status=FAILED), ORIGIN)
    for part in (
        "# Restore of operational: failed (CheckFailed)",
        "check 'a' failed. Look at what failed",
        "| restore point reached | nothing was recovered |",
        "| data window lost | nothing was handed over |",
        "| restore point wanted | the end of it, from backup nightly |",
        "## Attempts",
        "- [ ] Delete what this one left when nothing needs it",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ("2026-11-23T11:52:30Z", "22m30s: from 2026-11-23 11:30:00 UTC to 2026-11-23 11:52:30 UTC"),
        ("2026-11-23T11:30:00Z", "the archive told of nothing later"),
        (None, "how much that is nothing tells"),
    ],
)
def test_the_window_that_is_lost_ends_with_what_the_archive_knew(known: str | None, told: str) -> None:
    resolved = {name: value for name, value in {**RESOLVED, "knownUntil": known}.items() if value is not None}
    assert told in window_lost(finished(resolved=resolved))


HOSTILE = "| x |\n# Head\n<script>alert(1)</script> [here](http://example.com) `code` \x1b[31m \\ *b*"


def test_nothing_in_the_request_becomes_markup() -> None:
    text = incident_report(
        finished(findings=[HOSTILE], checks=[{"name": "n", "passed": False, "answer": HOSTILE}]), ORIGIN
    )
    assert "\n# Head" not in text
    assert "\x1b" not in text
    for markup in ("<script>", "[here]", "`code`", "*b*"):
        assert not re.search(rf"(?<!\\){re.escape(markup)}", text), markup
    rows = [line for line in text.splitlines() if line.startswith("| n |")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [4]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4096)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), TEXTS, st.booleans())
def test_it_is_never_longer_than_it_may_be_and_always_the_same(count: int, text: str, verified: bool) -> None:
    request = finished(
        findings=[text[:256]] * min(count, 32),
        checks=[{"name": f"{n}-{text[:50]}", "passed": False, "answer": text[:256]} for n in range(count)],
        steps=[{"name": f"s{n}", "state": "Done", "message": text[:1024]} for n in range(24)],
        attempts=[attempt(n) | {"message": text[:1024]} for n in range(1, 17)],
        conditions=[condition("Ready", "True", "Completed", message=text)],
    )
    origin = Origin(text[:253], text[:1024], verified)
    first = incident_report(request, origin)
    assert len(first.encode()) <= MOST_BYTES
    assert first == incident_report(RestoreRequest.of({**request.to_json(), "kind": "RestoreRequest"}), origin)


def test_one_that_is_cut_says_so() -> None:
    wide = "\U0001f418" * 1024
    request = finished(
        steps=[{"name": f"s{n}", "state": "Done", "message": wide} for n in range(24)],
        findings=[wide[:256]] * 32,
        attempts=[attempt(n) | {"message": wide} for n in range(1, 17)],
    )
    text = incident_report(request, ORIGIN)
    assert text.endswith("*The report is cut here: it would be longer than a ConfigMap and a Job can carry.*\n")
    assert len(text.encode()) <= MOST_BYTES


def test_checks_and_findings_stay_when_the_pod_is_gone() -> None:
    checks = [CheckResult(name=f"c{n}", passed=n != 3, detail="x" * 999).model_dump() for n in range(60)]
    told = {"agent": failure("CheckFailed", checks=checks, findings=["foreign server warehouse", 7])}
    status = with_told(restore_request().status, job_state(JobPhase.FAILED, told=told))
    assert (len(status.checks), status.checks[0].name) == (MOST_CHECKS, "c3")
    assert max(len(each.answer) for each in status.checks) == 256
    assert status.findings == ["foreign server warehouse"]
    assert with_told(status, job_state(JobPhase.FAILED)) == status
    odd = {"agent": success(checks=[{"called": "a"}], findings="none")}
    assert with_told(status, job_state(JobPhase.FAILED, told=odd)) == status


MADE = {"metadata": {"name": "p", "creationTimestamp": (NOW - timedelta(days=9)).isoformat()}}
BINDING = MADE | {"spec": {"policyName": "p", "validationActions": ["Deny"]}}
LATER = {"metadata": {"name": "p", "creationTimestamp": NOW.isoformat()}}


@pytest.mark.parametrize(
    ("policy", "binding", "verified"),
    [
        (MADE, BINDING, True),
        (None, BINDING, False),
        (MADE, None, False),
        (LATER, BINDING, False),
        (MADE, BINDING | LATER, False),
        (MADE, BINDING | {"spec": {"policyName": "p", "validationActions": ["Warn", "Audit"]}}, False),
        (MADE, BINDING | {"spec": {"policyName": "q", "validationActions": ["Deny"]}}, False),
    ],
)
def test_who_asked_is_believed_only_of_a_policy_that_was_there_before(
    policy: Body | None, binding: Body | None, verified: bool
) -> None:
    assert held_true(restore_request(), policy, binding) is verified
