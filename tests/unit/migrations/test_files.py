"""Reading migration files: order, pairs, refusals, digest."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.migrations.files import Migration, ProblemReason, digest, parse

pytestmark = pytest.mark.unit

VERSIONS = st.integers(min_value=1, max_value=10**40)
TITLES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=12)
CONTENTS = st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]), max_size=30).map(str.encode)
SETS = st.dictionaries(VERSIONS, st.tuples(TITLES, CONTENTS, CONTENTS), min_size=1, max_size=8)


def named(versions: dict[int, tuple[str, bytes, bytes]], zeros: int = 0) -> dict[str, bytes]:
    files = {}
    for version, (title, up, down) in versions.items():
        files[f"{'0' * zeros}{version}_{title}.up.sql"] = up
        files[f"{'0' * zeros}{version}_{title}.down.sql"] = down
    return files


@given(SETS, st.randoms(use_true_random=False))
def test_migrations_come_in_the_order_of_their_numbers_however_the_files_are_listed(
    versions: dict[int, tuple[str, bytes, bytes]], shuffler: random.Random
) -> None:
    files = list(named(versions).items())
    shuffler.shuffle(files)
    parsed = parse(files)
    assert parsed.problems == []
    assert [each.version for each in parsed.migrations] == sorted(versions)
    for each in parsed.migrations:
        title, up, down = versions[each.version]
        assert each.name == title
        assert each.up and each.up.content == up
        assert each.down and each.down.content == down


@given(SETS, st.integers(0, 5))
def test_the_digest_depends_on_content_only_and_not_on_order_place_or_leading_zeros(
    versions: dict[int, tuple[str, bytes, bytes]], zeros: int
) -> None:
    plain = digest(parse(named(versions)).migrations)
    elsewhere = {f"source-b/{name}": content for name, content in reversed(named(versions, zeros).items())}
    assert digest(parse(elsewhere).migrations) == plain


@given(SETS, SETS)
def test_two_different_sets_have_different_digests(
    one: dict[int, tuple[str, bytes, bytes]], other: dict[int, tuple[str, bytes, bytes]]
) -> None:
    digests = digest(parse(named(one)).migrations), digest(parse(named(other)).migrations)
    assert (digests[0] == digests[1]) == (one == other)


def test_the_digest_tells_content_from_title_and_up_from_down() -> None:
    def of(files: dict[str, bytes]) -> str:
        return digest(parse(files).migrations)

    variants = [
        {"1_ab.up.sql": b"c"},
        {"1_a.up.sql": b"bc"},
        {"1_ab.down.sql": b"c"},
        {"1_ab.up.sql": b"c", "1_ab.down.sql": b""},
        {"11_ab.up.sql": b"c"},
    ]
    assert len({of(files) for files in variants}) == len(variants)


def test_versions_are_compared_as_integers_of_any_length() -> None:
    names = ["10_b.up.sql", "9_a.up.sql", "0" * 24 + "11_c.up.sql", "9" * 30 + "_d.up.sql"]
    parsed = parse(dict.fromkeys(names, b""))
    assert [each.version for each in parsed.migrations] == [9, 10, 11, int("9" * 30)]


def test_a_lone_up_and_a_lone_down_are_allowed_as_in_golang_migrate() -> None:
    parsed = parse({"1_only_up.up.sql": b"a", "2_only_down.down.sql": b"b"})
    assert parsed.problems == []
    only_up, only_down = parsed.migrations
    assert only_up.down is None and only_up.name == "only_up"
    assert only_down.up is None and only_down.name == "only_down"


def test_up_and_down_of_one_number_may_have_different_titles_as_in_golang_migrate() -> None:
    [migration] = parse({"1_add_a.up.sql": b"a", "1_drop_a.down.sql": b"b"}).migrations
    assert (migration.name, migration.down and migration.down.title) == ("add_a", "drop_a")


@pytest.mark.parametrize("other", ["core/2_b.up.sql", "core/002_b.up.sql", "core/2_a.up.sql"])
def test_a_number_used_twice_is_refused_naming_both_files_also_across_sources(other: str) -> None:
    parsed = parse({"app/2_a.up.sql": b"1", other: b"2"})
    [problem] = parsed.problems
    assert problem.reason is ProblemReason.DUPLICATE_VERSION
    assert {problem.file} | {name for name in ("app/2_a.up.sql", other) if name in problem.message} == {
        "app/2_a.up.sql",
        other,
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"select 'a';\nselect '\xe4';", "line 2: byte 0xe4 is not UTF-8"),
        (b"\xef\xbb\xbfselect 1", "byte order mark"),
        ("select 1".encode("utf-16"), "byte 0xff is not UTF-8"),
        (b"select 1;\n\nselect '\0'", "line 3: holds a NUL byte"),
    ],
)
def test_what_is_not_plain_utf8_is_refused_with_file_and_place(content: bytes, words: str) -> None:
    [problem] = parse({"1_a.up.sql": content}).problems
    assert problem.reason is ProblemReason.INVALID_ENCODING
    assert problem.file == "1_a.up.sql"
    assert words in problem.message


@pytest.mark.parametrize(
    "name",
    ["add_users.up.sql", "1_add_users.sql", "1-add.up.sql", "1_a.UP.sql", "1_a.up.SQL", "V1__a.sql", "-1_a.up.sql",
     "٣_a.up.sql", "0_a.up.sql", "000_a.up.sql", "1" * 64 + "_a.up.sql", "1_a.up.sql\n.sql"],
)  # fmt: skip
def test_a_sql_file_whose_name_says_no_version_or_direction_is_refused_and_not_passed_over(name: str) -> None:
    [problem] = parse({"1_first.up.sql": b"", f"source/{name}": b""}).problems
    assert problem.reason is ProblemReason.INVALID_FILE_NAME
    assert problem.file == f"source/{name}"


def test_files_that_are_no_sql_are_passed_over() -> None:
    parsed = parse({"README.md": b"\xff", "1_a.up.sql": b"", "1_a.up.sql.orig": b"", ".gitkeep": b""})
    assert parsed.problems == []
    assert [str(each) for each in parsed.migrations] == ["1 a"]


@pytest.mark.parametrize("files", [{}, {"README.md": b""}])
def test_no_migrations_at_all_is_a_problem(files: dict[str, bytes]) -> None:
    assert [problem.reason for problem in parse(files).problems] == [ProblemReason.NO_MIGRATIONS]


def test_the_checksum_is_that_of_the_up_script_as_sha256sum_prints_it() -> None:
    [migration] = parse({"1_a.up.sql": b"select 1;\n", "1_a.down.sql": b"x"}).migrations
    assert migration.checksum == "4a45092ccf992ea92250053a80b931b787924ba61648f420555511b84f10ab6c"
    assert Migration(1).checksum == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
