"""The cluster where no container engine answers: started from its own programs.

Every step makes what isn't there yet, and nothing else.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import hashlib
import json
import string

from . import cgroups, components, config, debian, down, images, kubectl, namespace, pki, s3, store, toolchain
from .steps import ClusterError, fresh_log, step, wait_until

COREDNS_IMAGE = "localhost/pgwarden-coredns:dev"
NOBODY = "65532:65532"
TOOLS = ("coredns", "versitygw", "helm", "kubeconform")


def install_packages() -> None:
    if missing := debian.missing():
        log = fresh_log("packages")
        with step(f"install Debian packages: {' '.join(missing)}", log):
            debian.install(missing, log)


def build_programs() -> None:
    """Everything that takes the processor for long; the tools last, as the cluster can start without."""
    toolchain.build_kubernetes()
    for name in TOOLS:
        toolchain.build_tool(name)


def discard_other_state() -> None:
    """Ends and removes what another version of the cluster, or one with old certificates, left."""
    wanted = _fingerprint()
    mark = config.STATE / "fingerprint"
    recorded = mark.read_text() if mark.exists() else None
    if recorded == wanted and not pki.near_expiry():
        return
    if recorded is not None:
        with step("remove the state of another version"):
            down.down()
    config.STATE.mkdir(parents=True, exist_ok=True)
    mark.write_text(wanted)


def start_containerd() -> None:
    """Namespaces, networks and containerd: enough to load images."""
    pki.ensure()
    components.write_configuration()
    log = components.log_of("containerd")
    if not namespace.is_prepared():
        with step("create namespaces and network"):
            namespace.destroy()
            down.clear_leftovers()
            namespace.create()
            cgroups.create()
    if not namespace.status()["components"]:
        namespace.write([components.containerd()])
        wait_until(store.answers, "containerd to answer", 60, log)
        store.remove_containers()
    wait_until(store.answers, "containerd to answer", 60, log)


def start_kubernetes() -> None:
    programs = toolchain.programs("kubernetes")
    for directory in (config.VOLUMES, config.KUBELET_ROOT):
        directory.mkdir(parents=True, exist_ok=True)
    with step("start the components"):
        store.load_program(components.PAUSE_IMAGE, programs / "pause", NOBODY)
        namespace.write([components.containerd(), *components.kubernetes(programs)])
        kubectl.wait_ready(90, components.log_of("kube-apiserver"))
    with step("wait for the node"):
        wait_until(node_is_ready, "the node to be Ready", 90, components.log_of("kubelet"))


def node_is_ready() -> bool:
    """Whether the node says it is ready, and has said so lately: after a restart the API remembers old news."""
    try:
        node = json.loads(kubectl.get("node", config.NODE_NAME, "--output=json"))
        lease = json.loads(kubectl.get("--namespace=kube-node-lease", "lease", config.NODE_NAME, "--output=json"))
    except ClusterError:
        return False
    renewed = datetime.datetime.fromisoformat(lease["spec"]["renewTime"])
    age = datetime.datetime.now(datetime.UTC) - renewed
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))
    return ready and age < datetime.timedelta(seconds=15)


def apply_addons() -> None:
    tools = toolchain.programs("tools")
    with step("storage class and DNS"):
        store.load_program(COREDNS_IMAGE, tools / "coredns", NOBODY)
        manifest = string.Template((config.MANIFESTS / "cluster.yaml").read_text())
        kubectl.apply(manifest.substitute(
            cluster_domain=config.CLUSTER_DOMAIN, dns_service_address=config.DNS_SERVICE_ADDRESS,
        ))  # fmt: skip
        kubectl.wait_rolled_out("kube-system", "deployment/coredns", 90)
    with step("S3 server"):
        store.load_program(s3.IMAGE, tools / "versitygw", NOBODY)
        s3.apply(config.S3_SERVICE_ADDRESS, config.S3_PORT)


def up() -> None:
    """Every step in its order; what takes the processor and what takes the network side by side."""
    install_packages()
    discard_other_state()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        compiling = pool.submit(build_programs)
        start_containerd()
        if not images.built():
            images.build()
        images.load()
        compiling.result()
    start_kubernetes()
    apply_addons()
    toolchain.remove_outdated()


def _fingerprint() -> str:
    """Changes when what is on the disk can't be used by what is about to be started."""
    parts = [config.STATE_LAYOUT, config.KUBERNETES_VERSION, config.NODE_ADDRESS, config.POD_SUBNET,
             config.SERVICE_SUBNET, *[f"{leaf}" for leaf in pki.LEAVES]]  # fmt: skip
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
