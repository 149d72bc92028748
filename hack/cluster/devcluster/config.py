"""What is pinned, what things are called and where they are.

Nothing here is computed from the machine but the two directories that the XDG
rules name, so that every other module agrees on them.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

KUBERNETES_VERSION = "v1.36.3"
NODE_NAME = "pgwarden"
CLUSTER_NAME = "pgwarden"

# The cluster's own network. The node is one end of a pair of virtual
# interfaces, this machine is the other; both routes go over that pair, so pods
# and Services can be reached from here by their own addresses.
HOST_INTERFACE = "pgwarden0"
HOST_ADDRESS = "10.245.255.1"
NODE_ADDRESS = "10.245.255.2"
LINK_PREFIX = 30
POD_SUBNET = "10.244.0.0/22"
SERVICE_SUBNET = "10.245.0.0/20"
API_SERVICE_ADDRESS = "10.245.0.1"
DNS_SERVICE_ADDRESS = "10.245.0.10"
API_PORT = 6443
CLUSTER_DOMAIN = "cluster.local"

S3_NAMESPACE = "pgwarden-s3"
S3_SERVICE_ADDRESS = "10.245.0.70"
S3_PORT = 7070
S3_NODE_PORT = 30070
S3_BUCKET = "backups"

# Bump when yesterday's state can't be carried on by today's code.
STATE_LAYOUT = "1"


def _xdg(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    base = Path(value) if value.startswith("/") else Path.home() / default
    return base / "pgwarden"


SOURCE = Path(__file__).resolve().parent.parent
CHECKOUT = SOURCE.parent.parent
GO_SOURCE = SOURCE / "go"
MANIFESTS = SOURCE / "manifests"
IMAGE_SOURCE = CHECKOUT / "hack" / "images"

CACHE = _xdg("XDG_CACHE_HOME", ".cache")
STATE = _xdg("XDG_STATE_HOME", ".local/state") / "cluster"

LOGS = STATE / "logs"
RUN = STATE / "run"
PKI = STATE / "pki"
KUBECONFIGS = STATE / "kubeconfig"
ADMIN_KUBECONFIG = KUBECONFIGS / "admin.conf"
CONFIGS = STATE / "config"
ETCD_DATA = STATE / "etcd"
KUBELET_ROOT = STATE / "kubelet"
VOLUMES = STATE / "volumes"
S3_STATE = STATE / "s3"
CNI_CONFIG = STATE / "cni"
CONTAINERD_SOCKET = STATE / "containerd.sock"
# Images outlive the cluster: unpacking them again would be most of a warm start.
CONTAINERD_ROOT = CACHE / "containerd"

_DEFAULT_STATE = Path.home() / ".local" / "state" / "pgwarden" / "cluster"
# Every cgroup of the cluster is below this one, in each hierarchy. With its state elsewhere
# (a test of the cluster itself, in its own network namespace) it must not be the same.
CGROUP = "pgwarden" if STATE == _DEFAULT_STATE else f"pgwarden-{hashlib.sha256(bytes(STATE)).hexdigest()[:8]}"
