"""Requests to an S3 server that the product never makes: settings of a bucket, versions of objects.

Signed after "Signature Version 4" (AWS, "Create a signed AWS API request").
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from .postgres import HOST
from .s3 import ACCESS_KEY, SECRET_KEY, S3Server

REGION = "us-east-1"
VERSIONING = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


def s3_request(
    server: S3Server,
    method: str,
    path: str,
    query: Mapping[str, str] | None = None,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The answer's body. Raises RuntimeError with what the server said when that is no 2xx."""
    now = datetime.now(UTC)
    digest = hashlib.sha256(body).hexdigest()
    signed = {
        "host": f"localhost:{server.port}",
        "x-amz-content-sha256": digest,
        "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
        "content-md5": base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode(),
        **(headers or {}),
    }
    names = ";".join(sorted(signed))
    asked = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in sorted((query or {}).items()))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    canonical = f"{method}\n{quote(path)}\n{asked}\n{lines}\n{names}\n{digest}"
    scope = f"{now:%Y%m%d}/{REGION}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{signed['x-amz-date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET_KEY}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    credential = f"Credential={ACCESS_KEY}/{scope},SignedHeaders={names},Signature={signature}"
    context = ssl.create_default_context(cafile=str(server.tls.authority))
    connection = http.client.HTTPSConnection(HOST, server.port, timeout=30, context=context)
    try:
        sent = {**signed, "authorization": f"AWS4-HMAC-SHA256 {credential}"}
        connection.request(method, f"{quote(path)}?{asked}" if asked else quote(path), body, sent)
        found = connection.getresponse()
        answer = found.read()
    finally:
        connection.close()
    if not 200 <= found.status < 300:
        raise RuntimeError(f"{method} {path}?{asked}: {found.status} {answer.decode(errors='replace')}")
    return answer


def locked_bucket(server: S3Server, name: str, days: int = 1) -> str:
    """A bucket with object lock: every version of an object is held for so many days."""
    s3_request(server, "PUT", f"/{name}", headers={"x-amz-bucket-object-lock-enabled": "true"})
    rule = f"<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>{days}</Days></DefaultRetention></Rule>"
    body = f"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
    s3_request(server, "PUT", f"/{name}", {"object-lock": ""}, body.encode())
    return name


def versions(server: S3Server, bucket: str) -> str:
    """The listing of all versions and delete markers of a bucket, as XML."""
    return s3_request(server, "GET", f"/{bucket}", {"versions": ""}).decode()
