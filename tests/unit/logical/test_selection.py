"""Which databases are dumped, and why the others are not."""

from __future__ import annotations

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.logical.contract import Selection
from pgwarden.logical.selection import chosen
from pgwarden.postgres.databases import ServerDatabase


def database(name: str, *, template: bool = False, open_: bool = True, half_dropped: bool = False) -> ServerDatabase:
    return ServerDatabase(
        oid=16384,
        name=name,
        owner="postgres",
        encoding="UTF8",
        locale_provider="libc",
        collate="C",
        ctype="C",
        locale=None,
        collation_version=None,
        size_bytes=1,
        template=template,
        allows_connections=open_,
        lets_us_in=True,
        half_dropped=half_dropped,
    )


ALL = [
    database("analytics"),
    database("gone", half_dropped=True),
    database("operational"),
    database("rdsadmin"),
    database("template0", template=True, open_=False),
    database("template1", template=True),
]


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Selection(), ["analytics", "operational"]),
        (Selection(exclude=["analytics"]), ["operational"]),
        (Selection(include=["operational"]), ["operational"]),
        (Selection(include=["template1"]), ["template1"]),
        (Selection(include=["analytics", "operational"], exclude=["analytics"]), ["operational"]),
    ],
)
def test_all_or_those_that_are_named(wanted: Selection, taken: list[str]) -> None:
    found, left_out = chosen(ALL, wanted)
    assert [each.name for each in found] == taken
    assert {each.name for each in left_out} == {each.name for each in ALL} - set(taken)
    assert all(each.why for each in left_out)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Selection(include=["nowhere"]), "DatabaseNotFound"),
        (Selection(include=["gone"]), "DatabaseNotFound"),
        (Selection(include=["template0"]), "DatabaseNotFound"),
        (Selection(exclude=["analytics", "operational"]), "NothingToDump"),
    ],
)
def test_what_is_named_and_cannot_be_dumped_is_refused(wanted: Selection, reason: str) -> None:
    with pytest.raises(TaskError) as caught:
        chosen(ALL, wanted)
    assert caught.value.reason == reason
    assert caught.value.remedy
