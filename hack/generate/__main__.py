"""`python -m hack.generate` writes every generated file; with --check it only tells which are out of date."""

from __future__ import annotations

import argparse
import sys

from hack.generate.files import FOLDERS, files_from_models
from hack.generate.helm import HelmMissing
from hack.generate.manifests import manifest_files
from hack.generate.output import drift, write
from hack.generate.schema import SchemaError


def main() -> int:
    """0 when all is well, 1 when --check found drift, a model cannot be expressed, or helm is missing."""
    parser = argparse.ArgumentParser(prog="python -m hack.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    arguments = parser.parse_args()
    act = drift if arguments.check else write
    try:
        # The manifests are rendered from the chart, so the chart's own generated files come first.
        changed = act(files_from_models(), FOLDERS) + act(manifest_files())
    except (SchemaError, HelmMissing) as error:
        print(error, file=sys.stderr)
        return 1
    for path in changed:
        print(f"{path} is out of date: run `make generate`" if arguments.check else path)
    return 1 if changed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
