"""What of a dump's table of contents is taken for a part, and what is refused rather than guessed."""

from __future__ import annotations

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.restores.dump_list import chosen, entries, left_out_keys, owners_of, roles_in
from pgwarden.restores.parts_contract import Part, TableName

LISTING = """\
;
; Archive created at 2026-11-23 12:00:00 UTC
;     dbname: shop
;
; Selected TOC Entries:
;
6; 2615 16386 SCHEMA - billing the owner
215; 1259 16390 TABLE public accounts the owner
216; 1259 16400 TABLE billing invoices the owner
;\tdepends on: 6
217; 1259 16410 TABLE billing invoices old the owner
;\tdepends on: 6
218; 1259 16420 VIEW billing totals the owner
;\tdepends on: 216 6
219; 1259 16430 TABLE public events the owner
220; 1259 16440 TABLE public events_1 the owner
;\tdepends on: 219
3400; 0 0 TABLE ATTACH public events_1 the owner
;\tdepends on: 220 219
3500; 0 16390 TABLE DATA public accounts the owner
;\tdepends on: 215
3501; 0 16400 TABLE DATA billing invoices the owner
;\tdepends on: 216
3502; 0 16440 TABLE DATA public events_1 the owner
;\tdepends on: 220
3600; 2606 16450 CONSTRAINT billing invoices invoices_pkey the owner
;\tdepends on: 216
3601; 2606 16460 FK CONSTRAINT billing invoices invoices_account_fkey the owner
;\tdepends on: 216 215
3700; 3466 16470 EVENT TRIGGER - guard postgres
3800; 2613 4711 BLOB - 4711 somebody
"""


def taken(**part: object) -> set[int]:
    return {
        each.id for each in chosen(entries(LISTING), Part.model_validate({"database": "shop", "newName": "x", **part}))
    }


def table(schema: str, name: str) -> list[dict[str, str]]:
    return [TableName(schema_name=schema, table_name=name).model_dump(by_alias=True)]


def test_of_a_whole_database_all_but_event_triggers() -> None:
    assert taken() == {each.id for each in entries(LISTING)} - {3700}


def test_a_table_comes_with_its_data_and_keys_but_without_what_leads_elsewhere() -> None:
    found = taken(tables=table("public", "accounts"))
    assert {215, 3500} <= found
    assert not found & {216, 218, 219, 3501, 3600, 3601, 3800}


def test_a_foreign_key_that_is_left_out_is_told() -> None:
    listed = entries(LISTING)
    # What may be meant is taken: the new database is compared with what was named.
    part = Part.model_validate({"database": "shop", "newName": "x", "tables": table("billing", "invoices")})
    found = chosen(listed, part)
    assert {216, 217, 3501, 3600} <= {each.id for each in found}
    assert left_out_keys(listed, found) == ["billing invoices invoices_account_fkey the owner"]


def test_a_schema_comes_with_its_views() -> None:
    assert {216, 217, 218, 3501} <= taken(schemas=["billing"])


def test_partitions_come_with_their_parent_and_one_may_come_alone() -> None:
    assert {219, 220, 3400, 3502} <= taken(tables=table("public", "events"))
    alone = taken(tables=table("public", "events_1"))
    assert {220, 3502} <= alone and not alone & {219, 3400}


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"tables": table("public", "account")}, "PartNotFound"),
        ({"tables": table("Public", "accounts")}, "PartNotFound"),
        ({"schemas": ["bill"]}, "PartNotFound"),
        ({"tables": table("billing", "totals")}, "PartEntangled"),
    ],
)
def test_what_is_not_there_or_cannot_stand_alone_is_refused(part: dict[str, object], reason: str) -> None:
    with pytest.raises(TaskError) as refused:
        taken(**part)
    assert refused.value.reason == reason


def test_owners_are_found_by_the_roles_that_are_known() -> None:
    listed = entries(LISTING)
    assert owners_of(listed, ["the owner", "owner", "postgres"]) == ["postgres", "somebody", "the owner"]
    assert "owner" in owners_of(listed, [])


def test_the_roles_of_a_backup_are_read_out_of_its_globals() -> None:
    text = 'CREATE ROLE plain;\nALTER ROLE plain WITH LOGIN;\nCREATE ROLE "The ""owner""";\n-- CREATE ROLE none;\n'
    assert roles_in(text) == ["plain", 'The "owner"']
