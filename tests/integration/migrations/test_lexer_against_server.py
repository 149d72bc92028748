"""The lexer cuts text where the server cuts it: the server runs it, and says how many statements there were."""

from __future__ import annotations

import random

import pytest

from pgwarden.migrations.sql import statements
from pgwarden.postgres.script import DatabaseError
from pgwarden.postgres.session import ScriptSettings, Session, open_address
from tests.support.postgres import PostgresServer

# What stands for one value, however odd it looks.
VALUES = [
    "1", "1.5e3", "0x1F", ".5", "1_000", "''", "'a;b'", "'it''s;'", r"'\'", "'--;'", "'/*;'", r"E'\';'",
    r"e'a\\'", r"E'\';''\\'",
    r"U&'d\0061t;'", "B'01'", "x'1f'", "N'n;'", "'a'\n  'b;'", "E'a'\n  'b\\';'", "'a' -- c;\n 'b;'",
    "E'a'--'\n\t'\\''", "'a'\r\n';'",
    "$$;$$", "$$'$$", "$a$;$$;$a$", "$a$ $b$;$a$", "$é$;$é$", "$_1$;$_1$", "$$;$a$;$$", "1 AS a$$b",
    "1 AS _$a$", 'pi() AS ";"',
    'pi() AS "a"";"', 'pi() AS U&"x;"', "1 <--;\n 2", "1 -/*;*/1", "1 --;\n", "(1)", "(SELECT ';')",
    "CASE WHEN true THEN 1 END",
    "1 AS é", "'\u00a0;'", "@ 1", "2 *-1", "'a' || ';'", "1::int", "ARRAY[1,2]", "/* /* ; */ ' */ 1", "$$\\$$",
    "'a'::text /*'*/",
]  # fmt: skip
NOISE = ["", " ", "\n", "\r\n", "\t", "\f", " -- c;'\n", " /* ; */ ", " /* /* ; */ ' */ ", "\n--$$\n"]
# What may change the meaning of everything behind it.
STRAY = [
    ";",
    ";;",
    "'",
    '"',
    "$$",
    "$a$",
    "E'",
    "U&'",
    "/*",
    "*/",
    "--",
    "(",
    ")",
    "\\",
    "$1",
    "\u00a0",
    " begin atomic ",
    "1..2",
]
WHOLE = [
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END",
    "CREATE TEMP TABLE r(); CREATE RULE u AS ON INSERT TO r DO ALSO (SELECT 1; SELECT 2)",
    "CREATE PROCEDURE pg_temp.p() BEGIN ATOMIC SELECT 1 AS end; SELECT 2 AS case; END; SELECT 1",
    "DO $$ BEGIN PERFORM ';'; END $$; SELECT 1",
]


def random_text(chance: random.Random) -> str:
    """Statements of values, noise between them, and now and then something stray."""
    text = ""
    for _ in range(chance.randint(1, 4)):
        stray = chance.choice(STRAY) if chance.random() < 0.12 else ""
        value, first, last = chance.choice(VALUES), chance.choice(NOISE), chance.choice(NOISE)
        text += f"SELECT{first or ' '}{value}{stray}{last};"
    return text


def server_count(session: Session, text: str) -> int | None:
    """How many statements the server saw; None when it took none, for a syntax error."""
    session.begin(ScriptSettings())
    try:
        # One more statement that fails at run time: the number done before it is the number of all others.
        session.script(text + "\n;SELECT pg_catalog.set_config('no such setting', '', true)")
    except DatabaseError as error:
        if error.sqlstate == "42601" or error.completed is None:
            return None
        return error.completed if "no such setting" in error.primary else None
    finally:
        session.rollback()
    return None


@pytest.fixture
def session(postgres: PostgresServer) -> Session:
    return open_address(postgres.address())


def test_random_texts_are_cut_into_as_many_statements_as_the_server_runs(session: Session) -> None:
    chance = random.Random(20261123)
    compared = several = 0
    with session:
        for _ in range(3000):
            text = random_text(chance)
            counted = server_count(session, text)
            if counted is None:
                continue
            ours = len(statements(text + "\n;SELECT 1")) - 1
            assert ours == counted, text
            compared += 1
            several += counted > 1
    assert compared > 1200 and several > 600


@pytest.mark.parametrize("text", [f"SELECT {value}; SELECT {value}" for value in VALUES] + WHOLE)
def test_every_kind_of_value_and_body_is_cut_alike(session: Session, text: str) -> None:
    with session:
        counted = server_count(session, text)
    assert counted is not None, "the server refused the text"
    assert len(statements(text + "\n;SELECT 1")) - 1 == counted
