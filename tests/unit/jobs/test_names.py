"""Names of Jobs: labels of DNS, distinct, the same again after a crash."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pgwarden.api.model import DNS_LABEL, DNS_SUBDOMAIN
from pgwarden.jobs.names import LABEL_LENGTH, job_name, label_value, short_hash

OBJECT_NAMES = st.from_regex(DNS_SUBDOMAIN, fullmatch=True).filter(lambda name: len(name) <= 253)
LABEL_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"


@given(OBJECT_NAMES, st.lists(st.text(), min_size=1, max_size=4))
def test_the_name_of_any_objects_job_is_a_label(name: str, identity: list[str]) -> None:
    made = job_name(name, *identity)
    # A Job's controller adds six characters for its pods' names, which may be longer than labels.
    assert len(made) <= LABEL_LENGTH
    assert re.match(DNS_LABEL, made)
    assert made == job_name(name, *identity)


@given(OBJECT_NAMES)
def test_dots_and_cuts_leave_names_valid(name: str) -> None:
    for cut in range(30, 60):
        long = (name + "." + "x" * cut + "." + "y" * 40)[:253].rstrip("-.")
        assert re.match(DNS_LABEL, job_name(long, "1"))


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_two_identities_have_two_names(one: list[str], other: list[str]) -> None:
    assert (short_hash(*one) == short_hash(*other)) == (one == other)


def test_parts_of_an_identity_do_not_run_into_each_other() -> None:
    assert short_hash("ab", "c") != short_hash("a", "bc")


@given(OBJECT_NAMES)
def test_any_objects_name_becomes_a_label_value(name: str) -> None:
    value = label_value(name)
    assert len(value) <= LABEL_LENGTH
    assert re.fullmatch(LABEL_VALUE, value)
