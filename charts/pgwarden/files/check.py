"""What `helm test` runs: a ready operator answers, and the API server serves every kind.

check.py URL_OF_READYZ PLURAL...; exit 0 when all is well, else 1 with a sentence for each thing that is not.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

SECONDS = 60
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def operator_problem(url: str) -> str:
    """Empty when a ready operator answers within a minute, else what is wrong."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return ""
        except (urllib.error.URLError, OSError) as error:
            problem = f"no operator is ready: {url} says {error}"
        if time.monotonic() > deadline:
            return problem
        time.sleep(1)


def missing_kinds(plurals: list[str]) -> list[str]:
    """The kinds that the API server does not serve."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = urllib.request.Request(
        f"https://{address}/apis/pgwarden.dev/v1alpha1",
        headers={"Authorization": "Bearer " + (SERVICE_ACCOUNT / "token").read_text()},
    )
    context = ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            served = {resource["name"] for resource in json.load(answer)["resources"]}
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        served = set()
    return [plural for plural in plurals if plural not in served]


def main() -> int:
    url, *plurals = sys.argv[1:]
    problems = [
        f"the API server serves no {plural}: are the CustomResourceDefinitions installed?"
        for plural in missing_kinds(plurals)
    ]
    problem = operator_problem(url)
    if problem:
        problems.append(problem)
    for line in problems:
        print(line)
    if not problems:
        print(f"a ready operator answers, and all {len(plurals)} kinds are served")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
