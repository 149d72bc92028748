"""The commands of the front door."""

from __future__ import annotations

import argparse

from . import config, down, images, namespace, up
from .steps import step


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="cluster", description="A real Kubernetes for development and tests.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start the cluster, or mend it")
    commands.add_parser("down", help="end the cluster and remove its state")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("env", help='print what a shell needs: eval "$(cluster env)"')
    commands.add_parser("image", help="build what has changed of the images, and load it")
    options = parser.parse_args(arguments)
    if options.command == "env":
        print(f"export KUBECONFIG={config.ADMIN_KUBECONFIG}")
        print(f"export PATH={':'.join(up.programs_path())}:$PATH")
        return 0
    down.require_root()
    if options.command == "up":
        up.up()
    elif options.command == "down":
        down.down()
    elif options.command == "image":
        with step("cluster image"):
            images.build()
            if namespace.supervisor_pid() is not None:
                images.load()
    elif options.command == "status":
        print(namespace.STATUS_FILE.read_text())
    return 0
