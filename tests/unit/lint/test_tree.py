"""What the check of the tree finds, and what it leaves in peace."""

from __future__ import annotations

import pytest

from hack.lint.tree import complaints

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "parts",
    [
        ("cd /", "root/project"),
        ("see /", "home/jane/notes"),
        ("python /", "work/tool.py"),
        ("index-url = https://", "pypi.org/simple"),
        ("--extra-index-url https://mirror.", "pythonhosted.org/x"),
        ("image: gh", "cr.io/someone/something"),
        ("-----BEGIN ", "RSA PRIVATE KEY-----"),
    ],
    ids="".join,
)
def test_what_belongs_to_one_machine_or_registry_is_named_with_its_line(parts: tuple[str, ...]) -> None:
    (found,) = complaints("docs/page.md", "first line\n" + "".join(parts))
    assert found.startswith("docs/page.md:2: ")


@pytest.mark.parametrize(
    "line",
    [
        "command: [sh, /server/server.sh]",
        "a network/work/ratio",
        "image: localhost/pgwarden-operator:dev",
        "https://github.com/someone/something",
        "see https://fluxcd.io/flux",
        "mkdir ~/work/x",
    ],
)
def test_ordinary_text_is_left_in_peace(line: str) -> None:
    assert not list(complaints("docs/page.md", line))
