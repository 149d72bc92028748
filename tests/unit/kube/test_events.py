"""Events as the API server takes them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pgwarden.api.model import DNS_SUBDOMAIN
from pgwarden.jobs.plan import Notice
from pgwarden.kube.events import NOTE_LIMIT, event
from tests.support.objects import NOW, body


@given(st.text(max_size=3000), st.booleans())
def test_any_message_becomes_a_note_of_at_most_1024_bytes(message: str, warning: bool) -> None:
    made = event(body("BackupStore", "claims", {}), Notice("Reason", message, warning=warning), NOW)
    assert len(made["note"].encode()) <= NOTE_LIMIT
    assert made["type"] == ("Warning" if warning else "Normal")


def test_a_note_of_wide_characters_is_cut_by_bytes() -> None:
    note = event(body("BackupStore", "claims", {}), Notice("Reason", "漢" * 900), NOW)["note"]
    assert note.endswith("…")
    assert len(note.encode()) <= NOTE_LIMIT


@given(st.from_regex(DNS_SUBDOMAIN, fullmatch=True).filter(lambda name: len(name) <= 253))
def test_the_event_of_any_object_has_a_name_that_is_allowed(name: str) -> None:
    made = event(body("BackupStore", name, {}), Notice("Reason", ""), NOW)
    assert re.match(DNS_SUBDOMAIN, made["metadata"]["name"])
    assert len(made["metadata"]["name"]) <= 253
