"""The commands of the front door, the same with a container engine and without."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
from pathlib import Path

from . import config, down, engine, images, kubectl, lock, namespace, native, s3, store, toolchain
from .steps import ClusterError, say, step

_ENGINE_FILE = config.STATE / "engine"
_NATIVE = "none"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="cluster", description="A real Kubernetes for development and tests.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start the cluster, or mend it")
    commands.add_parser("down", help="end the cluster and remove its state")
    commands.add_parser("status", help="say what runs; ends with 0 if the node is Ready")
    commands.add_parser("env", help='print what a shell needs: eval "$(hack/cluster/cluster env)"')
    commands.add_parser("image", help="build what has changed of the images, and load it")
    load = commands.add_parser("load", help="load another image into the cluster")
    load.add_argument("image", metavar="IMAGE_OR_TAR")
    options = parser.parse_args(arguments)
    if options.command == "env":
        return env()
    if options.command == "status":
        return status()
    chosen = _choose()
    with lock.exclusive("cluster"), step(f"cluster {options.command}"):
        if options.command == "up":
            _up(chosen)
        elif options.command == "down":
            _down(chosen)
        elif options.command == "image":
            _image(chosen)
        else:
            _load(chosen, options.image)
    return 0


def env() -> int:
    """Prints what to export; nothing is started and nothing is built for it."""
    chosen = _recorded() or engine.find() or _NATIVE
    native_cluster = chosen == _NATIVE
    host, port = (
        (config.S3_SERVICE_ADDRESS, config.S3_PORT) if native_cluster else (engine.S3_HOST, config.S3_NODE_PORT)
    )
    path = ":".join(str(toolchain.programs(module)) for module in ("kubernetes", "tools"))
    exports = {
        "KUBECONFIG": str(config.ADMIN_KUBECONFIG),
        "PGWARDEN_S3_ENDPOINT": f"https://{host}:{port}",
        "PGWARDEN_S3_CA": str(s3.CA_FILE),
        "PGWARDEN_S3_ACCESS_KEY_FILE": str(s3.ACCESS_KEY_FILE),
        "PGWARDEN_S3_SECRET_KEY_FILE": str(s3.SECRET_KEY_FILE),
    }
    for name, value in exports.items():
        print(f"export {name}={shlex.quote(value)}")
    print(f'export PATH={shlex.quote(path)}:"$PATH"')
    return 0


def status() -> int:
    """Says what runs, in words; the exit status says whether the cluster can be used."""
    chosen = _recorded()
    if chosen is None:
        print("there is no cluster; start one with: cluster up")
        return 1
    if chosen != _NATIVE:
        print(f"kind on {chosen}: {'there' if engine.status(chosen) else 'gone'}")
    elif namespace.supervisor_pid() is None:
        print("the cluster has stopped; start it again with: cluster up")
        return 1
    else:
        for name, entry in namespace.status()["components"].items():
            if not entry["once"]:
                state = "running" if entry["running"] else "being started again"
                print(f"{name:26}{state}, restarted {entry['restarts']} times")
    ready = kubectl.works("wait", "--for=condition=Ready", "node", "--all", "--timeout=1s")
    print(f"{'node':26}{'Ready' if ready else 'not ready'}")
    return 0 if ready else 1


def _up(chosen: str) -> None:
    if chosen == _NATIVE:
        native.up()
    else:
        config.STATE.mkdir(parents=True, exist_ok=True)
        engine.up(chosen)
    _ENGINE_FILE.write_text(chosen)
    say('The cluster is up. For this shell: eval "$(hack/cluster/cluster env)"')


def _down(chosen: str) -> None:
    if chosen == _NATIVE:
        down.down()
    else:
        engine.down(chosen)


def _image(chosen: str) -> None:
    if chosen != _NATIVE:
        engine.image(chosen)
        return
    native.install_packages()
    images.build()
    if namespace.supervisor_pid() is not None:
        images.load()


def _load(chosen: str, image: str) -> None:
    if chosen != _NATIVE:
        engine.load(chosen, image)
    elif Path(image).is_file():
        store.load_archive(Path(image))
    else:
        raise ClusterError(f"{image} is no file; without a container engine an archive of the image is needed")


def _recorded() -> str | None:
    """How the cluster that is there was made."""
    if _ENGINE_FILE.exists():
        return _ENGINE_FILE.read_text()
    return _NATIVE if namespace.supervisor_pid() is not None else None


def _choose() -> str:
    """The engine to use; the existing cluster's first, so that what made it also ends it."""
    chosen = _recorded() or engine.find() or _NATIVE
    if chosen == _NATIVE and not (os.geteuid() == 0 and shutil.which("apt-get")):
        raise ClusterError(
            "neither docker nor podman answers, and without them a cluster can only be made by root on Debian or Ubuntu"
        )
    return chosen
