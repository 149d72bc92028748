"""What must not stand in the repository: `python -m hack.lint.tree`.

Paths of somebody's machine (they help nobody else, and tell about the machine), addresses of package or image
registries (they belong into the settings of whoever builds), and private keys.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Written in pieces, so that this file does not find itself.
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w$.}~-])/(?:" + r"root|home/(?!user\b)\w+|Users/\w+|work" + r")/[\w.]"),
    "the address of a registry": re.compile(
        r"https?://(?:[\w.-]+\.)?(?:" + r"pypi\.org|pythonhosted\.org|registry\.npmjs\.org|proxy\.golang\.org"
        r"|docker\.io|ghcr\.io|quay\.io|registry\.k8s\.io|gcr\.io" + r")|\b(?:" + r"docker\.io|ghcr\.io|quay\.io"
        r"|registry\.k8s\.io|gcr\.io" + r")/\w"
    ),
    "a private key": re.compile("-----BEGIN " + r"[A-Z ]*PRIVATE KEY-----"),
}


def main() -> int:
    """1 when something was found, else 0."""
    found = [line for path in tracked_files() for line in complaints(path.relative_to(ROOT).as_posix(), read(path))]
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


def tracked_files() -> list[Path]:
    """What git would commit, and what it already holds."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in output.split("\0") if name and (ROOT / name).is_file()]


def read(path: Path) -> str:
    """The text of a file; empty when it is none."""
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


def complaints(name: str, text: str) -> Iterator[str]:
    """One line for each forbidden thing in a text."""
    for number, line in enumerate(text.splitlines(), 1):
        for what, pattern in FORBIDDEN.items():
            match = pattern.search(line)
            if match:
                yield f"{name}:{number}: {what}: {match.group()}"


if __name__ == "__main__":
    sys.exit(main())
