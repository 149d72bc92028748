"""A real S3 server for tests: versitygw on loopback, with TLS and a certificate authority of its own.

    with s3_server() as server:
        location = server.location()            # what a task gets: bucket "backups", credentials in files
        server.objects("backups")               # what lies in the bucket, seen from the server's side

The binary is the one on PATH (`eval "$(hack/cluster/cluster env)"` puts it there), or the one that the variable
PGWARDEN_VERSITYGW names.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pgwarden.jobs.files import S3Location, StoreLocation

from .certificates import ServerCertificate, server_certificate
from .postgres import HOST, free_port, wait_until

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"
BUCKET = "backups"

_numbers = itertools.count(1)


def versitygw() -> str:
    """Path of the server's binary; raises RuntimeError with what to do when there is none."""
    path = shutil.which("versitygw") or os.environ.get("PGWARDEN_VERSITYGW")
    if not path:
        raise RuntimeError(
            "versitygw is neither on PATH nor named by PGWARDEN_VERSITYGW: "
            'run `eval "$(hack/cluster/cluster env)"`, or build it with '
            "`go install github.com/versity/versitygw/cmd/versitygw@v1.8.0`"
        )
    return path


@dataclass
class S3Server:
    """One server, its folder (each bucket is a folder in it) and its certificate."""

    folder: Path
    port: int
    tls: ServerCertificate
    data: Path
    versions: Path | None = None
    """Where versions of objects are kept; without it none are."""
    most_parts: int = 10_000
    """Of one object."""
    virtual_domain: str = ""
    """Buckets are named in front of this host, where it is set."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"https://localhost:{self.port}"

    def start(self, *, read_only: bool = False, secret_key: str = SECRET_KEY) -> None:
        """Starts the server and waits until it accepts connections."""
        command = [versitygw(), "--port", f"{HOST}:{self.port}", "--quiet"]
        command += ["--cert", str(self.tls.certificate), "--key", str(self.tls.key)]
        command += ["--readonly"] if read_only else []
        command += ["--mp-max-parts", str(self.most_parts)]
        command += ["--virtual-domain", self.virtual_domain] if self.virtual_domain else []
        backend = ["posix", *(["--versioning-dir", str(self.versions)] if self.versions else []), str(self.data)]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command, *backend],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], "ROOT_ACCESS_KEY_ID": ACCESS_KEY, "ROOT_SECRET_ACCESS_KEY": secret_key},
        )
        log.close()
        wait_until(self._accepts, f"versitygw did not start: {(self.folder / 'log').read_text()}")

    def _accepts(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"versitygw ended: {(self.folder / 'log').read_text()}")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def stop(self) -> None:
        """Ends the server and waits for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def create_bucket(self, name: str = BUCKET) -> str:
        """Creates a bucket; the server takes any folder of its data folder for one."""
        (self.data / name).mkdir()
        return name

    def new_bucket(self) -> str:
        """A bucket that nothing else uses."""
        return self.create_bucket(f"bucket-{next(_numbers)}")

    def location(
        self,
        bucket: str = BUCKET,
        *,
        prefix: str = "",
        access_key: str = ACCESS_KEY,
        secret_key: str = SECRET_KEY,
        recipients: list[str] | None = None,
        identity_file: Path | None = None,
    ) -> StoreLocation:
        """The location a task gets; the credentials stand in files of the server's folder."""
        secrets = self.folder / f"secret-{next(_numbers)}"
        secrets.mkdir()
        (secrets / "access_key_id").write_text(access_key)
        (secrets / "secret_access_key").write_text(secret_key)
        return StoreLocation(
            s3=S3Location(
                endpoint=self.endpoint,
                bucket=bucket,
                ca_file=str(self.tls.authority),
                access_key_id_file=str(secrets / "access_key_id"),
                secret_access_key_file=str(secrets / "secret_access_key"),
            ),
            prefix=prefix,
            recipients=recipients or [],
            identity_file=str(identity_file) if identity_file else None,
        )

    def open_to_others(self) -> None:
        """Has other users of this machine read the credentials and certificates, as a pod's user must."""
        for secret in (self.folder, *self.folder.rglob("*")):
            if self.data not in (secret, *secret.parents):
                secret.chmod(0o755 if secret.is_dir() else 0o644)

    def objects(self, bucket: str = BUCKET) -> dict[str, Path]:
        """Every object of the bucket, by key, as a file on the server's disk."""
        root = self.data / bucket
        files = (path for path in root.rglob("*") if path.is_file())
        return {key: path for path in files if not (key := str(path.relative_to(root))).startswith(".sgwtmp")}


@contextmanager
def s3_server(
    data: Path | None = None, *, versions: bool = False, most_parts: int = 10_000, virtual_domain: str = ""
) -> Iterator[S3Server]:
    """A running server with the bucket "backups"; `data` puts its objects elsewhere (a small file system, say)."""
    folder = Path(tempfile.mkdtemp(prefix="pgw-s3-"))
    names = ["localhost", *([f"{BUCKET}.{virtual_domain}"] if virtual_domain else [])]
    tls = server_certificate(folder / "tls", *(f"DNS:{name}" for name in names), f"IP:{HOST}")
    if data is None:
        data = folder / "data"
        data.mkdir()
    kept = folder / "versions" if versions else None
    if kept is not None:
        kept.mkdir()
    server = S3Server(folder, free_port(), tls, data, kept, most_parts, virtual_domain)
    try:
        server.create_bucket()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
