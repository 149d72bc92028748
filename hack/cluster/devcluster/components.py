"""The components of the cluster: their files of configuration and their command lines.

Raised rates and short intervals are there for tests, which create and delete
a lot in little time; everything else is as an ordinary cluster has it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from . import config
from .pki import certificate, key
from .steps import ClusterError
from .supervisor import Component

PAUSE_IMAGE = "localhost/pgwarden-pause:dev"
_CNI_PLUGINS = Path("/usr/lib/cni")


def write_configuration() -> None:
    """Writes what the components read from files."""
    config.CONFIGS.mkdir(parents=True, exist_ok=True)
    (config.CONFIGS / "containerd.toml").write_text(_containerd())
    # No name outside the cluster is looked up, so the list of servers is empty.
    (config.CONFIGS / "resolv.conf").write_text("# no servers: names outside the cluster are not resolved\n")
    _write_json(config.CONFIGS / "kubelet.json", _kubelet())
    _write_json(config.CONFIGS / "kube-proxy.json", _kube_proxy())
    _write_json(config.CONFIGS / "kube-scheduler.json", _kube_scheduler())
    config.CNI_CONFIG.mkdir(parents=True, exist_ok=True)
    _write_json(config.CNI_CONFIG / "10-pgwarden.conflist", _cni())


def containerd() -> Component:
    path = shutil.which("containerd")
    if path is None:
        raise ClusterError("containerd is not installed")
    return _service("containerd", [path, "--config", str(config.CONFIGS / "containerd.toml")])


def kubernetes(programs: Path) -> list[Component]:
    """Everything after containerd, in the order of starting."""
    return [
        _once("mount-volumes", [
            str(programs / "volume-provisioner"), "--mount-only", f"--root={config.VOLUMES}",
        ]),
        _service("etcd", [str(programs / "etcd"), *_etcd()]),
        _service("kube-apiserver", [str(programs / "kube-apiserver"), *_kube_apiserver()]),
        _service("kube-controller-manager", [str(programs / "kube-controller-manager"), *_controller_manager()]),
        _service("kube-scheduler", [
            str(programs / "kube-scheduler"), f"--config={config.CONFIGS / 'kube-scheduler.json'}",
            *_delegated("kube-scheduler"),
        ]),
        _service("kubelet", [
            str(programs / "kubelet"), f"--config={config.CONFIGS / 'kubelet.json'}",
            f"--kubeconfig={config.KUBECONFIGS / 'kubelet.conf'}", f"--root-dir={config.KUBELET_ROOT}",
            f"--cert-dir={config.KUBELET_ROOT / 'pki'}", f"--hostname-override={config.NODE_NAME}",
            f"--node-ip={config.NODE_ADDRESS}",
        ]),
        _service("kube-proxy", [
            str(programs / "kube-proxy"), f"--config={config.CONFIGS / 'kube-proxy.json'}",
        ]),
        _service("volume-provisioner", [
            str(programs / "volume-provisioner"), f"--root={config.VOLUMES}", f"--node={config.NODE_NAME}",
            f"--kubeconfig={config.KUBECONFIGS / 'volume-provisioner.conf'}",
        ]),
    ]  # fmt: skip


def log_of(name: str) -> Path:
    return config.LOGS / f"{name}.log"


def _service(name: str, argv: list[str]) -> Component:
    # A changed file of configuration changes the component, and so it is started anew.
    digest = hashlib.sha256()
    for argument in argv:
        path = Path(argument.partition("=")[2] or argument)
        if path.suffix in (".json", ".toml", ".conf", ".crt") and path.is_file():
            digest.update(path.read_bytes())
    environment = {"HOME": str(config.STATE), "CONFIGURATION_DIGEST": digest.hexdigest()[:16]}
    return Component(name, argv, str(log_of(name)), environment=environment)


def _once(name: str, argv: list[str]) -> Component:
    return Component(name, argv, str(log_of(name)), once=True)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def _etcd() -> list[str]:
    return [
        f"--name={config.NODE_NAME}", f"--data-dir={config.ETCD_DATA}",
        "--listen-client-urls=https://127.0.0.1:2379", "--advertise-client-urls=https://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        f"--cert-file={certificate('etcd')}", f"--key-file={key('etcd')}",
        f"--trusted-ca-file={certificate('ca')}", "--client-cert-auth=true",
        # A power failure may cost this cluster its state, which is cheaply made again.
        "--unsafe-no-fsync=true", "--log-level=warn", "--quota-backend-bytes=4294967296",
        "--auto-compaction-mode=periodic", "--auto-compaction-retention=30m",
    ]  # fmt: skip


def _kube_apiserver() -> list[str]:
    return [
        f"--advertise-address={config.NODE_ADDRESS}", f"--secure-port={config.API_PORT}",
        "--etcd-servers=https://127.0.0.1:2379", f"--etcd-cafile={certificate('ca')}",
        f"--etcd-certfile={certificate('etcd-client')}", f"--etcd-keyfile={key('etcd-client')}",
        f"--tls-cert-file={certificate('kube-apiserver')}", f"--tls-private-key-file={key('kube-apiserver')}",
        f"--client-ca-file={certificate('ca')}",
        f"--service-account-issuer=https://kubernetes.default.svc.{config.CLUSTER_DOMAIN}",
        f"--service-account-key-file={config.PKI / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={key('service-accounts')}",
        f"--service-cluster-ip-range={config.SERVICE_SUBNET}",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-certificate-authority={certificate('ca')}",
        f"--kubelet-client-certificate={certificate('kube-apiserver-kubelet-client')}",
        f"--kubelet-client-key={key('kube-apiserver-kubelet-client')}",
        # The node's name is in nobody's DNS, its address is in its certificate.
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={certificate('front-proxy-ca')}",
        "--requestheader-allowed-names=front-proxy-client", "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={certificate('front-proxy-client')}",
        f"--proxy-client-key-file={key('front-proxy-client')}",
        "--allow-privileged=true", "--profiling=false", "--v=0",
    ]  # fmt: skip


def _delegated(name: str) -> list[str]:
    kubeconfig = config.KUBECONFIGS / f"{name}.conf"
    return [
        f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1", f"--tls-cert-file={certificate(name)}", f"--tls-private-key-file={key(name)}",
        f"--client-ca-file={certificate('ca')}",
    ]  # fmt: skip


def _controller_manager() -> list[str]:
    return [
        f"--kubeconfig={config.KUBECONFIGS / 'kube-controller-manager.conf'}",
        *_delegated("kube-controller-manager"),
        "--leader-elect=false", "--use-service-account-credentials=true",
        f"--service-account-private-key-file={key('service-accounts')}", f"--root-ca-file={certificate('ca')}",
        f"--cluster-signing-cert-file={certificate('ca')}", f"--cluster-signing-key-file={key('ca')}",
        "--kube-api-qps=300", "--kube-api-burst=600", "--concurrent-job-syncs=20",
        "--concurrent-namespace-syncs=20", "--concurrent-statefulset-syncs=10", "--concurrent-gc-syncs=20",
        "--pvclaimbinder-sync-period=5s", "--profiling=false", "--v=0",
    ]  # fmt: skip


def _client(name: str) -> dict[str, Any]:
    return {"kubeconfig": str(config.KUBECONFIGS / f"{name}.conf"), "qps": 300, "burst": 600}


def _kube_scheduler() -> dict[str, Any]:
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": _client("kube-scheduler"),
        "leaderElection": {"leaderElect": False},
        "enableProfiling": False,
        "podMaxBackoffSeconds": 3,
    }


def _kube_proxy() -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": config.NODE_NAME,
        "clusterCIDR": config.POD_SUBNET,
        "clientConnection": _client("kube-proxy"),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "iptables": {"minSyncPeriod": "100ms"},
        # The limits of connection tracking belong to the machine, not to us.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _kubelet() -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": config.NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(certificate("ca"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificate("kubelet")),
        "tlsPrivateKeyFile": str(key("kubelet")),
        "clusterDNS": [config.DNS_SERVICE_ADDRESS],
        "clusterDomain": config.CLUSTER_DOMAIN,
        "resolvConf": str(config.CONFIGS / "resolv.conf"),
        "containerRuntimeEndpoint": f"unix://{config.CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{config.CGROUP}",
        "failCgroupV1": False,
        # Pods get the limits they ask for; the node as a whole gets none.
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "podLogsDir": str(config.LOGS / "pods"),
        "volumePluginDir": str(config.KUBELET_ROOT / "volume-plugins"),
        # Not for want of disk: the kubelet would remove images first, and there is no registry to pull them from again.
        "evictionHard": {"memory.available": "200Mi"},
        # Images are loaded by hand; one collected could not be pulled again.
        "imageGCHighThresholdPercent": 100,
        "maxPods": 250,
        "serializeImagePulls": False,
        "kubeAPIQPS": 300,
        "kubeAPIBurst": 600,
        "eventRecordQPS": 0,
        "registryPullQPS": 0,
        "volumeStatsAggPeriod": "10s",
        "nodeStatusReportFrequency": "1m",
    }


def _cni() -> dict[str, Any]:
    # Every pod is routed through the node (ptp), not bridged: on a bridge, replies between
    # two pods of the node would pass by the Service rules, unless a kernel module forbids it.
    return {
        "cniVersion": "1.0.0",
        "name": "pgwarden",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "mtu": 1500,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni",
                    "ranges": [[{"subnet": config.POD_SUBNET}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _containerd() -> str:
    # restrict_oom_score_adj: where lowering the score is forbidden, runc ends without it.
    return f"""\
version = 2
root = "{config.CONTAINERD_ROOT}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{config.CONTAINERD_SOCKET}"
[debug]
  level = "warn"
[plugins."io.containerd.internal.v1.opt"]
  path = "{config.CONTAINERD_ROOT}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_CNI_PLUGINS}"
    conf_dir = "{config.CNI_CONFIG}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""
