"""Cuts SQL text into statements the way PostgreSQL's lexer does, without parsing it.

Written by us rather than taken from a binding of PostgreSQL's parser, because the lexical rules hold for every
server version from 15 to 18 while a bundled grammar belongs to one; because text with a syntax error must be cut
as well; and because such a binding costs 11 MB and its import. The rules are those of the PostgreSQL documentation,
"SQL Syntax / Lexical Structure", with standard_conforming_strings on. A test lets the server itself count the
statements of the same text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

KEPT_TOKENS = 64
"""Tokens kept for each statement: enough to tell what it is; a seed file of a million rows needs no more."""

IDENTIFIER = r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*"
# What may stand between the pieces of one string constant: white space with at least one newline in it.
CONTINUATION = r"(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*'"

BLOCK_EDGE = re.compile(r"/\*|\*/")
STRING_PLAIN_END = re.compile(rf"'(?:{CONTINUATION}|')?")
STRING_ESCAPED_END = re.compile(rf"\\.|'(?:{CONTINUATION}|')?", re.DOTALL)
PASSWORD_IN_STRING = re.compile(r"password\s*=", re.IGNORECASE)
QUOTED_END = re.compile(r'"(?:")?')


class Kind(Enum):
    """What a token is."""

    WORD = auto()
    """A keyword or an identifier without quotes; its text is folded to lower case."""
    QUOTED = auto()
    STRING = auto()
    NUMBER = auto()
    PARAMETER = auto()
    OTHER = auto()
    """One character: an operator's, a bracket, a comma, a backslash."""


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    start: int
    """Offset into the text, in characters."""
    end: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: text[start:end], without the semicolon and without comments around it."""

    start: int
    end: int
    line: int
    """Line of its first token, counted from 1."""
    tokens: tuple[Token, ...]
    """Its first tokens, KEPT_TOKENS at most."""
    last_words: tuple[str, ...]
    """Its last words, two at most: what ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY ends with."""
    backslash: int | None
    """Offset of the first backslash outside quotes, as psql's meta-commands have it."""

    @property
    def words(self) -> tuple[str, ...]:
        """The words it begins with, up to the first token that is none."""
        found: list[str] = []
        for token in self.tokens:
            if token.kind is not Kind.WORD:
                break
            found.append(token.text)
        return tuple(found)

    def has(self, *words: str) -> bool:
        """Whether the words stand next to each other among the statement's first tokens."""
        texts = [token.text if token.kind is Kind.WORD else "" for token in self.tokens]
        return any(texts[i : i + len(words)] == list(words) for i in range(len(texts) - len(words) + 1))


@cache
def token_pattern() -> re.Pattern[str]:
    """What begins at a place in the text. Compiled when first needed: a run that finds nothing to do needs it not."""
    return re.compile(
        rf"""
        (?P<space>[ \t\n\r\f\v]+)
      | (?P<comment>--[^\n\r]*)
      | (?P<block>/\*)
      | (?P<escaped>[eE]')
      | (?P<string>(?:[bBxXnN]|[uU]&)?')
      | (?P<quoted>(?:[uU]&)?")
      | (?P<word>{IDENTIFIER})
      | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
      | (?P<parameter>\$[0-9]+)
      | (?P<number>0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+
          |(?:[0-9](?:_?[0-9])*(?:\.(?!\.)(?:[0-9](?:_?[0-9])*)?)?|\.[0-9](?:_?[0-9])*)(?:[eE][-+]?[0-9](?:_?[0-9])*)?)
      | (?P<other>.)
        """,
        re.VERBOSE | re.DOTALL,
    )


def tokens(text: str) -> Iterator[Token]:
    """The tokens of SQL text, without white space and comments; what is never closed reaches to the end."""
    pattern = token_pattern()
    position = 0
    while position < len(text):
        match = pattern.match(text, position)
        assert match  # noqa: S101 - `other` takes any character
        group, start, position = match.lastgroup, position, match.end()
        if group in ("space", "comment"):
            continue
        if group == "block":
            position = block_comment_end(text, position)
        elif group == "word":
            yield Token(Kind.WORD, ascii_lower(match[0]), start, position)
        elif group == "string":
            position = closed(STRING_PLAIN_END, text, position)
            yield Token(Kind.STRING, text[start:position], start, position)
        elif group == "escaped":
            position = closed(STRING_ESCAPED_END, text, position)
            yield Token(Kind.STRING, text[start:position], start, position)
        elif group == "dollar":
            end = text.find(match[0], position)
            position = len(text) if end < 0 else end + len(match[0])
            yield Token(Kind.STRING, text[start:position], start, position)
        elif group == "quoted":
            position = closed(QUOTED_END, text, position)
            yield Token(Kind.QUOTED, text[start:position], start, position)
        elif group == "number":
            yield Token(Kind.NUMBER, match[0], start, position)
        elif group == "parameter":
            yield Token(Kind.PARAMETER, match[0], start, position)
        else:
            yield Token(Kind.OTHER, match[0], start, position)


def closed(edge: re.Pattern[str], text: str, position: int) -> int:
    """Where a quoted token ends: behind the first edge that is a single closing quote."""
    for match in edge.finditer(text, position):
        if len(match[0]) == 1:
            return match.end()
    return len(text)


def block_comment_end(text: str, position: int) -> int:
    """Where a block comment ends, `position` being behind its opening; PostgreSQL nests them."""
    depth = 1
    for match in BLOCK_EDGE.finditer(text, position):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return len(text)


def ascii_lower(word: str) -> str:
    """Folds A to Z only, as keywords are recognised."""
    return word.lower() if word.isascii() else "".join(c.lower() if c.isascii() else c for c in word)


def statements(text: str) -> list[Statement]:
    """The statements of SQL text, in order; empty ones are left out, as the server leaves them out.

    A semicolon inside brackets (CREATE RULE ... DO ALSO (...; ...)) or inside BEGIN ATOMIC ... END of an SQL function
    belongs to the statement.
    """
    found: list[Statement] = []
    collector = Collector(text)
    for token in tokens(text):
        if token.text == ";" and token.kind is Kind.OTHER and collector.between_statements():
            found += collector.finish()
        else:
            collector.add(token)
    return found + collector.finish()


class Collector:
    """Gathers the tokens of one statement, and knows how deep in brackets and in BEGIN ATOMIC it is."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.counted, self.line = 0, 1
        self.clear()

    def clear(self) -> None:
        self.kept: list[Token] = []
        self.last: Token | None = None
        self.words: tuple[str, ...] = ()
        self.brackets = self.atomic = 0
        self.backslash: int | None = None

    def add(self, token: Token) -> None:
        if len(self.kept) < KEPT_TOKENS:
            self.kept.append(token)
        if token.kind is Kind.WORD:
            self.add_word(token.text)
        elif token.kind is Kind.OTHER:
            if token.text == "(":
                self.brackets += 1
            elif token.text == ")":
                self.brackets = max(0, self.brackets - 1)
            elif token.text == "\\" and self.backslash is None:
                self.backslash = token.start
        self.last = token

    def add_word(self, word: str) -> None:
        before = self.last.text if self.last else ""
        self.words = (*self.words[-1:], word)
        if before in (".", "as"):  # a column's name or label: any keyword may stand here
            return
        if (word == "atomic" and before == "begin" and self.defines_routine()) or (word == "case" and self.atomic):
            self.atomic += 1
        elif word == "end" and self.atomic:
            self.atomic -= 1

    def defines_routine(self) -> bool:
        words = [token.text for token in self.kept[:4]]
        return words[:1] == ["create"] and bool({"function", "procedure"} & set(words))

    def between_statements(self) -> bool:
        return self.brackets == 0 and self.atomic == 0

    def finish(self) -> list[Statement]:
        """The statement gathered, or none when there was nothing but white space and comments."""
        if not self.kept or self.last is None:
            return []
        start = self.kept[0].start
        self.line += self.text.count("\n", self.counted, start)
        self.counted = start
        statement = Statement(start, self.last.end, self.line, tuple(self.kept), self.words, self.backslash)
        self.clear()
        return [statement]


def line_of(text: str, offset: int) -> int:
    """The line, counted from 1, that the character at `offset` stands on."""
    return text.count("\n", 0, offset) + 1


def statement_at(found: list[Statement], offset: int) -> Statement | None:
    """The statement that the character at `offset` belongs to, or the last one that begins before it."""
    before = [statement for statement in found if statement.start <= offset]
    return before[-1] if before else None


def excerpt(text: str, statement: Statement, limit: int = 300) -> str:
    """A statement's text on one line, without comments, its passwords hidden, cut to `limit` characters."""
    pieces: list[str] = []
    length, end, secret = 0, statement.start, False
    for token in tokens(text[statement.start : statement.end]):
        start = statement.start + token.start
        shown = text[start : statement.start + token.end]
        if token.kind is Kind.STRING and (secret or PASSWORD_IN_STRING.search(shown)):
            shown = "'***'"
        secret = token.kind is Kind.WORD and token.text == "password"
        gap = " " if pieces and start > end else ""
        pieces.append(gap + " ".join(shown.split()))
        end = statement.start + token.end
        length += len(pieces[-1])
        if length > limit:
            break
    line = "".join(pieces)
    return line if len(line) <= limit else line[: limit - 1] + "…"
