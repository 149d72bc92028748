"""A small certificate authority of our own, through the openssl command.

Every component gets its own certificate, and everybody checks everybody
else's: nothing in this cluster runs with verification switched off.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import config
from .steps import run

_DAYS = "365"
_OPENSSL_CONFIG = """\
[req]
distinguished_name = name
prompt = no
[name]
"""


@dataclass(frozen=True)
class Leaf:
    """A certificate to be made: for whom, and for serving or for calling."""

    name: str
    common_name: str
    organization: str = ""
    hosts: tuple[str, ...] = ()
    authority: str = "ca"


_NAMES_OF_THE_API = (
    "DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc",
    f"DNS:kubernetes.default.svc.{config.CLUSTER_DOMAIN}", "DNS:localhost", "IP:127.0.0.1",
    f"IP:{config.NODE_ADDRESS}", f"IP:{config.API_SERVICE_ADDRESS}",
)  # fmt: skip
_S3_SERVICE = f"s3.{config.S3_NAMESPACE}"

AUTHORITIES = ("ca", "front-proxy-ca", "s3-ca")
LEAVES = (
    Leaf("etcd", "etcd", hosts=("IP:127.0.0.1", "DNS:localhost")),
    Leaf("etcd-client", "kube-apiserver"),
    Leaf("kube-apiserver", "kube-apiserver", hosts=_NAMES_OF_THE_API),
    Leaf("kube-apiserver-kubelet-client", "kube-apiserver-kubelet-client"),
    Leaf("front-proxy-client", "front-proxy-client", authority="front-proxy-ca"),
    Leaf("kubelet", config.NODE_NAME, hosts=(f"DNS:{config.NODE_NAME}", f"IP:{config.NODE_ADDRESS}")),
    Leaf("kubelet-client", f"system:node:{config.NODE_NAME}", "system:nodes"),
    Leaf("kube-controller-manager", "system:kube-controller-manager", hosts=("IP:127.0.0.1",)),
    Leaf("kube-scheduler", "system:kube-scheduler", hosts=("IP:127.0.0.1",)),
    Leaf("kube-proxy", "system:kube-proxy"),
    Leaf("volume-provisioner", "pgwarden:volume-provisioner"),
    Leaf("admin", "kubernetes-admin", "system:masters"),
    Leaf(
        "s3", _S3_SERVICE, authority="s3-ca",
        hosts=(f"DNS:{_S3_SERVICE}.svc", f"DNS:{_S3_SERVICE}.svc.{config.CLUSTER_DOMAIN}", f"DNS:{_S3_SERVICE}",
               "DNS:localhost", "IP:127.0.0.1", f"IP:{config.S3_SERVICE_ADDRESS}"),
    ),
)  # fmt: skip
# Who gets a kubeconfig, and with which certificate.
KUBECONFIGS = {
    "admin": "admin",
    "kubelet": "kubelet-client",
    "kube-controller-manager": "kube-controller-manager",
    "kube-scheduler": "kube-scheduler",
    "kube-proxy": "kube-proxy",
    "volume-provisioner": "volume-provisioner",
}


def certificate(name: str) -> Path:
    return config.PKI / f"{name}.crt"


def key(name: str) -> Path:
    return config.PKI / f"{name}.key"


def ensure_for_s3() -> None:
    """Makes what the S3 server needs, and no more: with kind, the cluster has its own authority."""
    _make_missing(["s3-ca"], [leaf for leaf in LEAVES if leaf.authority == "s3-ca"])


def _make_missing(authorities: Sequence[str], leaves: Sequence[Leaf]) -> None:
    config.PKI.mkdir(parents=True, exist_ok=True)
    config.PKI.chmod(0o700)
    (config.PKI / "openssl.cnf").write_text(_OPENSSL_CONFIG)
    for name in authorities:
        if not certificate(name).exists():
            _make_authority(name)
    for leaf in leaves:
        if not certificate(leaf.name).exists():
            _make_leaf(leaf)


def ensure() -> None:
    """Makes whatever of the authorities, certificates and kubeconfigs is missing."""
    _make_missing(AUTHORITIES, LEAVES)
    if not key("service-accounts").exists():
        run(["openssl", "genrsa", "-out", str(key("service-accounts")), "2048"])
    if not (config.PKI / "service-accounts.pub").exists():
        run(["openssl", "rsa", "-in", str(key("service-accounts")), "-pubout",
             "-out", str(config.PKI / "service-accounts.pub")])  # fmt: skip
    config.KUBECONFIGS.mkdir(parents=True, exist_ok=True)
    config.KUBECONFIGS.chmod(0o700)
    for owner, leaf_name in KUBECONFIGS.items():
        _write_kubeconfig(config.KUBECONFIGS / f"{owner}.conf", leaf_name)


def near_expiry() -> bool:
    """Whether any certificate ends within a week: then everything is made anew."""
    for path in config.PKI.glob("*.crt"):
        try:
            run(["openssl", "x509", "-in", str(path), "-noout", "-checkend", str(7 * 86400)])
        except Exception:
            return True
    return False


def _request(name: str, subject: str, extensions: list[str]) -> list[str]:
    argv = [
        "openssl", "req", "-x509", "-config", str(config.PKI / "openssl.cnf"), "-days", _DAYS,
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-subj", subject, "-keyout", str(key(name)), "-out", str(certificate(name)) + ".new",
    ]  # fmt: skip
    for extension in extensions:
        argv += ["-addext", extension]
    return argv


def _make_authority(name: str) -> None:
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
                  "subjectKeyIdentifier=hash"]  # fmt: skip
    run(_request(name, f"/CN=pgwarden-{name}", extensions))
    Path(f"{certificate(name)}.new").rename(certificate(name))


def _make_leaf(leaf: Leaf) -> None:
    subject = (f"/O={leaf.organization}" if leaf.organization else "") + f"/CN={leaf.common_name}"
    usage = "clientAuth,serverAuth" if leaf.hosts else "clientAuth"
    extensions = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature,keyEncipherment",
                  f"extendedKeyUsage={usage}"]  # fmt: skip
    if leaf.hosts:
        extensions.append("subjectAltName=" + ",".join(leaf.hosts))
    argv = _request(leaf.name, subject, extensions)
    argv += ["-CA", str(certificate(leaf.authority)), "-CAkey", str(key(leaf.authority))]
    run(argv)
    # Renamed in last, so that an interrupted run never leaves half a pair.
    Path(f"{certificate(leaf.name)}.new").rename(certificate(leaf.name))


def _write_kubeconfig(path: Path, leaf_name: str) -> None:
    def encoded(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    # JSON is YAML, and needs no library.
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": config.CLUSTER_NAME,
        "clusters": [{
            "name": config.CLUSTER_NAME,
            "cluster": {
                "server": f"https://{config.NODE_ADDRESS}:{config.API_PORT}",
                "certificate-authority-data": encoded(certificate("ca")),
            },
        }],
        "users": [{
            "name": leaf_name,
            "user": {
                "client-certificate-data": encoded(certificate(leaf_name)),
                "client-key-data": encoded(key(leaf_name)),
            },
        }],
        "contexts": [{
            "name": config.CLUSTER_NAME,
            "context": {"cluster": config.CLUSTER_NAME, "user": leaf_name},
        }],
    }  # fmt: skip
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1) + "\n")
