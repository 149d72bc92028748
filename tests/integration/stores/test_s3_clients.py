"""What an S3 client of ours sends: encryption asked for, the bucket in the host's name, keys of a web identity."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pgwarden.jobs.files import StoreLocation
from pgwarden.storage.store import open_store
from tests.support.backups import take_backup
from tests.support.certificates import ServerCertificate
from tests.support.http_front import serving
from tests.support.postgres import HOST, PostgresServer
from tests.support.s3 import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server, s3_server
from tests.support.s3_faults import s3_faults

PROBE = """
import sys
from pgwarden.jobs.files import StoreLocation
from pgwarden.storage.store import open_store
from pgwarden.stores.task import probe
store = open_store(StoreLocation.model_validate_json(sys.argv[1]))
probe(store)
store.put("written", b"content")
"""
ROLE = "arn:aws:iam::123456789012:role/backups"


def in_s3(store: StoreLocation, **changes: object) -> StoreLocation:
    assert store.s3 is not None
    return store.model_copy(update={"s3": store.s3.model_copy(update=changes)})


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"server_side_encryption": "AES256"}, {"x-amz-server-side-encryption": "AES256"}),
        (
            {"server_side_encryption": "aws:kms", "kms_key_id": "alias/backups"},
            {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": "alias/backups",
            },
        ),
        ({}, {}),
    ],
    ids=["SSE-S3", "SSE-KMS", "none"],
)
def test_every_object_that_is_begun_asks_for_the_encryption_that_the_store_says(
    postgres17: PostgresServer, s3: S3Server, asked: dict[str, str], sent: dict[str, str]
) -> None:
    with s3_faults(s3) as proxy:
        location = in_s3(proxy.location(s3.location(s3.new_bucket())), **asked)
        take_backup(postgres17.address(), location)
        open_store(location).put_stream("large", [os.urandom(9 << 20)] * 2)
        begun = [
            each
            for each in proxy.requests
            if (each.method == "PUT" and "partNumber" not in each.path)
            or (each.method == "POST" and "?uploads" in each.path)
        ]
    assert any(each.method == "POST" for each in begun), "a large object began in parts"
    for each in begun:
        found = {name: value for name, value in each.headers.items() if "server-side-encryption" in name}
        assert found == sent, f"{each.method} {each.path}"


def run_probe(location: StoreLocation, *before: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A probe in a process of its own, with nothing of this one's AWS settings; it leaves the object `written`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [*before, sys.executable, "-c", PROBE, location.model_dump_json(by_alias=True)],
        env={**clean, "PYTHONPATH": str(Path("operator").resolve()), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_bucket_may_stand_in_the_hosts_name(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(f"{HOST} localhost s3.test {BUCKET}.s3.test\n")
    with s3_server(virtual_domain="s3.test") as server:
        location = in_s3(server.location(), endpoint=f"https://s3.test:{server.port}", path_style=False)
        with_hosts: list[str | Path] = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            'mount --bind "$0" /etc/hosts && exec "$@"',
            hosts,
        ]
        done = run_probe(location, *with_hosts)
        assert done.returncode == 0, done.stderr
        assert set(server.objects()) == {"written"}
        by_path = run_probe(in_s3(location, path_style=True), *with_hosts)
        assert by_path.returncode != 0, "in a path the bucket is none here, so that the host's name is what was used"


class TokenService(ThreadingHTTPServer):
    """Answers AssumeRoleWithWebIdentity as AWS documents it, and keeps the requests.

    No real one can be asked here: that of versitygw takes tokens of issuers on public addresses only.
    """

    def __init__(self, tls: ServerCertificate) -> None:
        super().__init__((HOST, 0), TokenHandler)
        self.asked: list[dict[str, list[str]]] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server_address[1]}"


class TokenHandler(BaseHTTPRequestHandler):
    server: TokenService

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
        self.server.asked.append({**parse_qs(urlsplit(self.path).query), **parse_qs(body)})
        until = datetime.now(UTC) + timedelta(hours=1)
        answer = (
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
            f"<AccessKeyId>{ACCESS_KEY}</AccessKeyId><SecretAccessKey>{SECRET_KEY}</SecretAccessKey>"
            f"<SessionToken>a-session</SessionToken><Expiration>{until:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
            "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def test_without_keys_the_pods_web_identity_is_changed_into_some_and_they_sign(s3: S3Server, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the-token-of-the-service-account")
    location = in_s3(s3.location(s3.new_bucket()), access_key_id_file="", secret_access_key_file="")
    with serving(TokenService(s3.tls)) as service, s3_faults(s3) as proxy:
        done = run_probe(
            proxy.location(location),
            AWS_ROLE_ARN=ROLE,
            AWS_WEB_IDENTITY_TOKEN_FILE=str(token),
            AWS_ENDPOINT_URL_STS=service.url,
            AWS_ROLE_SESSION_NAME="a-pod",
        )
        # The S3 server knows no session of this service: what it is told is what counts here.
        assert "InvalidToken" in done.stderr, done.stderr
        asked = service.asked[0]
        assert asked["Action"] == ["AssumeRoleWithWebIdentity"]
        assert asked["RoleArn"] == [ROLE]
        assert asked["WebIdentityToken"] == ["the-token-of-the-service-account"]
        assert proxy.requests
        for request in proxy.requests:
            assert request.headers["x-amz-security-token"] == "a-session"
            assert f"Credential={ACCESS_KEY}/" in request.headers["authorization"]
