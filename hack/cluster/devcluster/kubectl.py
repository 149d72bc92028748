"""kubectl, as the administrator."""

from __future__ import annotations

import subprocess
from pathlib import Path

from . import config, toolchain
from .steps import output, run, wait_until


def argv(*arguments: str) -> list[str]:
    program = toolchain.programs("kubernetes") / "kubectl"
    return [str(program), "--kubeconfig", str(config.ADMIN_KUBECONFIG), *arguments]


def apply(manifest: str) -> None:
    """Server-side, so that applying the same again changes nothing."""
    run(argv("apply", "--server-side", "--force-conflicts", "--filename", "-"), stdin=manifest)


def get(*arguments: str) -> str:
    return output(argv("get", *arguments)).strip()


def works(*arguments: str) -> bool:
    return subprocess.run(argv(*arguments), capture_output=True, check=False).returncode == 0


def wait_ready(seconds: float, log: Path | None = None) -> None:
    wait_until(
        lambda: works("get", "--raw", "/readyz", "--request-timeout=3s"), "the API server to be ready", seconds, log
    )


def wait_rolled_out(namespace: str, workload: str, seconds: int) -> None:
    run(argv("--namespace", namespace, "rollout", "status", workload, f"--timeout={seconds}s"))
