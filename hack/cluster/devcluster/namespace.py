"""The namespaces that hold the cluster: making them, finding them, ending them.

What is recorded is one process id with its start time, so that a recycled id is
never taken for ours.
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import config
from .steps import ClusterError, output, run, succeeds, wait_until
from .supervisor import Component, write_wanted

_RECORD = config.RUN / "supervisor.json"
COMPONENTS_FILE = config.RUN / "components.json"
STATUS_FILE = config.RUN / "status.json"
# Written when the namespaces are furnished: an `up` that was interrupted before is begun anew.
_PREPARED = config.RUN / "prepared"


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None if there is none."""
    try:
        # The name in parentheses may hold spaces; the fields after it don't.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def supervisor_pid() -> int | None:
    """The supervisor's process id, if the recorded one is still that process."""
    try:
        record = json.loads(_RECORD.read_text())
        pid, started, boot = int(record["pid"]), int(record["started"]), str(record["boot"])
    except (OSError, ValueError, KeyError):
        return None
    return pid if boot == _boot_id() and start_time(pid) == started else None


def enter(argv: Sequence[str]) -> list[str]:
    """A command line that runs argv inside the namespaces."""
    pid = supervisor_pid()
    if pid is None:
        raise ClusterError("the cluster is not running; start it with: cluster up")
    return ["nsenter", "--target", str(pid), "--mount", "--net", "--pid", "--", *argv]


def create() -> None:
    """Starts the supervisor in fresh namespaces and joins them to this machine by one link."""
    check_addresses_free()
    config.RUN.mkdir(parents=True, exist_ok=True)
    for stale in (COMPONENTS_FILE, STATUS_FILE, _PREPARED):
        stale.unlink(missing_ok=True)
    log = config.LOGS / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        outer = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
             "--propagation", "private", "--",
             sys.executable, "-m", "devcluster.supervisor", str(COMPONENTS_FILE), str(STATUS_FILE)],
            stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True, cwd="/",
            env={**os.environ, "PYTHONPATH": str(config.SOURCE)},
        )  # fmt: skip
    wait_until(STATUS_FILE.exists, "the supervisor to start", 20, log)
    children = output(["ps", "-o", "pid=", "--ppid", str(outer.pid)]).split()
    pid = int(children[0])
    _RECORD.write_text(json.dumps({"pid": pid, "started": start_time(pid), "boot": _boot_id()}))
    _prepare_mounts()
    _link(pid)
    _PREPARED.touch()


def is_prepared() -> bool:
    """Whether the namespaces are there, with their mounts and their network."""
    return supervisor_pid() is not None and _PREPARED.exists()


def write(components: list[Component]) -> None:
    """Tells the supervisor what is to run, and waits until it does; what differs is started anew."""
    pid = supervisor_pid()
    if pid is None:
        raise ClusterError("the cluster's first process has ended; its log is supervisor.log")
    revision = write_wanted(COMPONENTS_FILE, components)
    os.kill(pid, signal.SIGHUP)
    # Stopping a component may take its 20 seconds.
    wait_until(lambda: status()["revision"] == revision, "the components to start", 200, config.LOGS / "supervisor.log")


def status() -> dict[str, Any]:
    """What the supervisor last reported."""
    reported: dict[str, Any] = json.loads(STATUS_FILE.read_text())
    return reported


def destroy() -> None:
    """Ends the supervisor, and with it everything in the namespaces."""
    pid = supervisor_pid()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        started = start_time(pid)
        deadline = time.monotonic() + 20
        while started is not None and start_time(pid) == started:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                deadline = time.monotonic() + 20
            time.sleep(0.05)
    _RECORD.unlink(missing_ok=True)
    if succeeds(["ip", "link", "show", config.HOST_INTERFACE]):
        # The kernel takes its time to remove the link with its other end.
        succeeds(["ip", "link", "delete", config.HOST_INTERFACE])


def _prepare_mounts() -> None:
    """Gives the cluster its own copies of the few directories whose paths are built into programs."""
    private_log = config.STATE / "var-log"
    private_cni = config.STATE / "var-lib-cni"
    for directory in (private_log, private_cni):
        directory.mkdir(parents=True, exist_ok=True)
    # Addresses handed out and cached by CNI plugins describe pods that are gone.
    script = f"""
set -e
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
mount --bind {private_log} /var/log
if [ ! -d /var/lib/cni ]; then mkdir /var/lib/cni; fi
mount -t tmpfs tmpfs /var/lib/cni
"""
    run(enter(["sh", "-c", script]))


def _link(pid: int) -> None:
    peer = "pgwarden1"
    if succeeds(["ip", "link", "show", config.HOST_INTERFACE]):
        run(["ip", "link", "delete", config.HOST_INTERFACE])
    run(["ip", "link", "add", config.HOST_INTERFACE, "type", "veth", "peer", "name", peer, "netns", str(pid)])
    run(["ip", "address", "add", f"{config.HOST_ADDRESS}/{config.LINK_PREFIX}", "dev", config.HOST_INTERFACE])
    run(["ip", "link", "set", config.HOST_INTERFACE, "up"])
    run(enter(["sh", "-c", f"""
set -e
ip link set lo up
ip link set {peer} name eth0
ip address add {config.NODE_ADDRESS}/{config.LINK_PREFIX} dev eth0
ip link set eth0 up
ip route add default via {config.HOST_ADDRESS}
echo 1 > /proc/sys/net/ipv4/ip_forward
"""]))  # fmt: skip
    for subnet in (config.POD_SUBNET, config.SERVICE_SUBNET):
        run(["ip", "route", "replace", subnet, "via", config.NODE_ADDRESS, "dev", config.HOST_INTERFACE])


def check_addresses_free() -> None:
    """Refuses to take addresses that this machine already routes elsewhere."""
    ours = [ipaddress.ip_network(subnet) for subnet in (config.POD_SUBNET, config.SERVICE_SUBNET)]
    for route in json.loads(output(["ip", "-json", "-4", "route", "show"]) or "[]"):
        if route.get("dst") in (None, "default") or route.get("dev") == config.HOST_INTERFACE:
            continue
        taken = ipaddress.ip_network(route["dst"], strict=False)
        for subnet in ours:
            if subnet.overlaps(taken):
                raise ClusterError(
                    f"this machine routes {taken} over {route.get('dev')}, and the cluster needs {subnet}"
                )
