"""cluster: a real Kubernetes for development and tests.

usage: cluster up | down | status | env | image | load IMAGE_OR_TAR
"""

from __future__ import annotations

import sys

from . import cli
from .steps import ClusterError

if __name__ == "__main__":
    try:
        sys.exit(cli.main(sys.argv[1:]))
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
