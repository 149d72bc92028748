"""The S3 server in the cluster, and the one request that is made to it from here."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import http.client
import json
import secrets
import ssl
import string
from pathlib import Path

from . import config, kubectl, pki
from .steps import ClusterError, wait_until

IMAGE = "localhost/pgwarden-s3:dev"
_REGION = "us-east-1"
_EMPTY = hashlib.sha256(b"").hexdigest()

CA_FILE = config.S3_STATE / "ca.crt"
ACCESS_KEY_FILE = config.S3_STATE / "access_key_id"
SECRET_KEY_FILE = config.S3_STATE / "secret_access_key"


def apply(host: str, port: int) -> None:
    """Deploys the server and makes the bucket; host and port are how to reach it from here."""
    _ensure_credentials()
    manifest = string.Template((config.MANIFESTS / "s3.yaml").read_text()).substitute(
        namespace=config.S3_NAMESPACE,
        image=IMAGE,
        port=config.S3_PORT,
        node_port=config.S3_NODE_PORT,
        service_address=config.S3_SERVICE_ADDRESS,
        access_key_id=_encoded(ACCESS_KEY_FILE),
        secret_access_key=_encoded(SECRET_KEY_FILE),
        certificate=_encoded(pki.certificate("s3")),
        key=_encoded(pki.key("s3")),
        # A JSON string is a YAML string.
        authority=json.dumps(CA_FILE.read_text()),
    )
    kubectl.apply(manifest)
    kubectl.wait_rolled_out(config.S3_NAMESPACE, "deployment/s3", 120)
    wait_until(lambda: _bucket_is_there(host, port), f"bucket {config.S3_BUCKET} at https://{host}:{port}", 30)


def _ensure_credentials() -> None:
    config.S3_STATE.mkdir(parents=True, exist_ok=True)
    CA_FILE.write_bytes(pki.certificate("s3-ca").read_bytes())
    for path, value in ((ACCESS_KEY_FILE, "pgwarden-root"), (SECRET_KEY_FILE, secrets.token_urlsafe(30))):
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(value)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _bucket_is_there(host: str, port: int) -> bool:
    """Makes the bucket; True also if it was there."""
    path = f"/{config.S3_BUCKET}"
    connection = http.client.HTTPSConnection(
        host, port, timeout=5, context=ssl.create_default_context(cafile=str(CA_FILE))
    )
    try:
        connection.request("PUT", path, headers=_signed("PUT", path, f"{host}:{port}"))
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    except ssl.SSLCertVerificationError as error:
        raise ClusterError(f"the S3 server's certificate is not for {host}: {error}") from error
    except OSError:
        return False
    finally:
        connection.close()
    return answer.status == http.HTTPStatus.OK or "BucketAlreadyOwnedByYou" in body


def _signed(method: str, path: str, host: str) -> dict[str, str]:
    """The headers of a request without a body, signed by Amazon's version 4 scheme."""
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{_REGION}/s3/aws4_request"
    headers = {"host": host, "x-amz-content-sha256": _EMPTY, "x-amz-date": moment}
    names = ";".join(headers)
    lines = [f"{name}:{value}" for name, value in headers.items()]
    canonical = "\n".join([method, path, "", *lines, "", names, _EMPTY])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + SECRET_KEY_FILE.read_bytes()
    for part in (*scope.split("/"), to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    credential = f"{ACCESS_KEY_FILE.read_text()}/{scope}"
    return {**headers, "authorization":
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"}  # fmt: skip
