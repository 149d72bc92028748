"""`python -m hack.generate` writes every generated file; with --check it only tells which are out of date."""

from __future__ import annotations

import argparse
import sys

from hack.generate.files import generated_files
from hack.generate.output import drift, write
from hack.generate.schema import SchemaError


def main() -> int:
    """0 when all is well, 1 when --check found drift or a model cannot be expressed."""
    parser = argparse.ArgumentParser(prog="python -m hack.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    arguments = parser.parse_args()
    try:
        files = generated_files()
    except SchemaError as error:
        print(error, file=sys.stderr)
        return 1
    if not arguments.check:
        for path in write(files):
            print(path)
        return 0
    outdated = drift(files)
    for path in outdated:
        print(f"{path} is out of date: run `make generate`", file=sys.stderr)
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
