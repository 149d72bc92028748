"""Cutting SQL text into statements. That the server cuts it the same way is tested in tests/integration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.migrations.sql import Kind, excerpt, line_of, statement_at, statements, tokens

pytestmark = pytest.mark.unit


def cut(text: str) -> list[str]:
    return [text[each.start : each.end] for each in statements(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ;; -- nothing\n; /* ; */ ;", []),
        ("select 1", ["select 1"]),
        ("select 1; select 2;", ["select 1", "select 2"]),
        ("select ';'; select 2", ["select ';'", "select 2"]),
        ("select 'it''s;'; select 2", ["select 'it''s;'", "select 2"]),
        (r"select '\'; select 2", [r"select '\'", "select 2"]),
        (r"select E'\';'; select 2", [r"select E'\';'", "select 2"]),
        (r"select e'\\'; select 2", [r"select e'\\'", "select 2"]),
        ("select name'; it is no E string'; select 2", ["select name'; it is no E string'", "select 2"]),
        (r"select xe'\'; select 2", [r"select xe'\'", "select 2"]),
        (r"select U&'\0061;'; select 2", [r"select U&'\0061;'", "select 2"]),
        ("select E'a'\n 'b\\';'; select 2", ["select E'a'\n 'b\\';'", "select 2"]),
        ("select E'a' 'b\\'; select 2", ["select E'a' 'b\\'", "select 2"]),
        ('select ";""";select 2', ['select ";"""', "select 2"]),
        ("select $$;$$; select 2", ["select $$;$$", "select 2"]),
        ("select $a$;$b$;$$;$a$; select 2", ["select $a$;$b$;$$;$a$", "select 2"]),
        ("select $ä1$;$ä1$; select 2", ["select $ä1$;$ä1$", "select 2"]),
        ("select a$$b; select 2", ["select a$$b", "select 2"]),
        ("select 1_000$$;$$; select 2", ["select 1_000$$;$$", "select 2"]),
        ("select $1; select $2$x$;$x$", ["select $1", "select $2$x$;$x$"]),
        ("select 1 --;\n+1; select 2", ["select 1 --;\n+1", "select 2"]),
        ("select 1 /* /* ; */ ; */; select 2", ["select 1", "select 2"]),
        ("select 1 +/*;*/ 1; select 2", ["select 1 +/*;*/ 1", "select 2"]),
        ("select 1 @--;\n 1; select 2", ["select 1 @--;\n 1", "select 2"]),
        (
            "create rule r as on insert to t do also (delete from a; delete from b); select 2",
            ["create rule r as on insert to t do also (delete from a; delete from b)", "select 2"],
        ),
        (
            "create function f() returns int begin atomic select case when true then 1 end; select 2; end; x",
            ["create function f() returns int begin atomic select case when true then 1 end; select 2; end", "x"],
        ),
        (
            "create or replace procedure p() begin atomic select 1 as end; select t.case from t; end; select 2",
            ["create or replace procedure p() begin atomic select 1 as end; select t.case from t; end", "select 2"],
        ),
        ("begin; select 1; end", ["begin", "select 1", "end"]),
        ("select 'never closed; select 2", ["select 'never closed; select 2"]),
        ("select $x$ never closed; select 2", ["select $x$ never closed; select 2"]),
        ("select 1; /* never closed ; select 2", ["select 1"]),
    ],
)  # fmt: skip
def test_statements_are_cut_where_postgresql_cuts_them(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


@given(st.text(alphabet="aeEuU&'\"$;-/*\\()bx \n1._ä\0", max_size=60))
def test_any_text_is_cut_without_loss_and_every_token_lies_where_it_says(text: str) -> None:
    end = 0
    for token in tokens(text):
        assert end <= token.start < token.end
        end = token.end
        if token.kind is not Kind.WORD:
            assert text[token.start : token.end] == token.text
    assert end <= len(text)
    end = 0
    for each in statements(text):
        assert end <= each.start < each.end <= len(text)
        assert each.line == line_of(text, each.start)
        end = each.end


def test_keywords_are_folded_as_postgresql_folds_them_ascii_only() -> None:
    assert [token.text for token in tokens("SELECT İx FROM Ünder")] == ["select", "İx", "from", "Ünder"]


def test_a_position_finds_its_statement() -> None:
    text = "select 1;\n\nselect oops;\nselect 3"
    found = statement_at(statements(text), text.index("oops"))
    assert found and (found.line, text[found.start : found.end]) == (3, "select oops")
    assert statement_at(statements(text), 0) == statements(text)[0]
    assert statement_at([], 3) is None


def test_an_excerpt_is_one_line_without_comments_and_is_cut() -> None:
    text = "insert into t -- why\n  values ('a\n b', 1)\n;"
    assert excerpt(text, statements(text)[0]) == "insert into t values ('a b', 1)"
    long = "select '" + "x" * 5000 + "'"
    assert len(excerpt(long, statements(long)[0], 100)) == 100


@pytest.mark.parametrize(
    "text",
    [
        "CREATE ROLE app LOGIN PASSWORD 'hunter2'",
        "CREATE ROLE app LOGIN ENCRYPTED PASSWORD $$hunter2$$",
        "CREATE USER MAPPING FOR app SERVER s OPTIONS (user 'app', password 'hunter2')",
        "CREATE SUBSCRIPTION s CONNECTION 'host=a password=hunter2' PUBLICATION p",
        "SELECT dblink('Password = hunter2', 'select 1')",
    ],
)
def test_an_excerpt_hides_passwords(text: str) -> None:
    shown = excerpt(text, statements(text)[0])
    assert "hunter2" not in shown
    assert "'***'" in shown
