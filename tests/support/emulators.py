"""Stand-ins for Google Cloud Storage and Azure Blob Storage on loopback: the emulators that hack/emulators.sh installs.

with gcs_server() as server:
    location = server.location()      # what a task gets: the bucket "backups", credentials in a file
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import shutil
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from pgwarden.jobs.files import AzureLocation, GCSLocation, StoreLocation

from .gcs_xml import xml_front
from .postgres import HOST, free_port, wait_until

ROOT = Path(__file__).parents[2]
# Those of Azure's documentation of its emulator: known to everybody.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_numbers = itertools.count(1)


@cache
def programs() -> Path:
    """The folder of the emulators; takes minutes the first time."""
    done = subprocess.run([ROOT / "hack" / "emulators.sh"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"hack/emulators.sh ended with {done.returncode}: {done.stderr}")
    return Path(done.stdout.strip())


@contextmanager
def _running(command: list[str | Path], folder: Path, port: int) -> Iterator[None]:
    """A server that accepts connections."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )

    def accepts() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended: {(folder / 'log').read_text()}")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, port)) == 0

    try:
        wait_until(accepts, f"{command[0]} did not start")
        yield
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class GCSServer:
    """fake-gcs-server; each bucket is a folder."""

    folder: Path
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    def new_bucket(self) -> str:
        """A bucket that nothing else uses."""
        name = f"bucket-{next(_numbers)}"
        (self.folder / "data" / name).mkdir()
        return name

    def location(self, bucket: str, *, prefix: str = "") -> StoreLocation:
        """The location a task gets. The key says that there is nobody to ask for a token."""
        key = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        file = self.folder / f"key-{next(_numbers)}"
        file.write_text(json.dumps(key))
        return StoreLocation(
            gcs=GCSLocation(bucket=bucket, endpoint=self.endpoint, credentials_file=str(file)), prefix=prefix
        )


@contextmanager
def gcs_server() -> Iterator[GCSServer]:
    folder, behind = Path(tempfile.mkdtemp(prefix="pgw-gcs-")), free_port()
    (folder / "data").mkdir()
    command: list[str | Path] = [programs() / "fake-gcs-server", "-scheme", "http", "-host", HOST]
    command += ["-port", str(behind), "-backend", "filesystem", "-filesystem-root", folder / "data"]
    try:
        with xml_front(behind) as port:
            public = ["-external-url", f"http://{HOST}:{port}", "-public-host", f"{HOST}:{port}"]
            with _running([*command, *public], folder, behind):
                yield GCSServer(folder, port)
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class AzureServer:
    """azurite-blob."""

    folder: Path
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}/{ACCOUNT}"

    def new_container(self) -> str:
        """A container that nothing else uses."""
        name = f"container-{next(_numbers)}"
        # Shared key authorization (Azure's documentation, "Authorize with Shared Key"); obstore has no call for this.
        moment = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {"x-ms-date": moment, "x-ms-version": "2023-11-03"}
        canonical = "".join(f"{header}:{value}\n" for header, value in sorted(headers.items()))
        resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        text = "PUT" + "\n" * 12 + canonical + resource
        signature = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
        url = f"{self.endpoint}/{name}?restype=container"
        request = urllib.request.Request(url, method="PUT", headers=headers, data=b"")
        request.add_header("Content-Length", "0")
        request.add_header("Content-Type", "")
        urllib.request.urlopen(request, timeout=10).close()
        return name

    def location(self, container: str, *, prefix: str = "", key: str = ACCOUNT_KEY) -> StoreLocation:
        """The location a task gets."""
        file = self.folder / f"key-{next(_numbers)}"
        file.write_text(key)
        where = AzureLocation(account=ACCOUNT, container=container, endpoint=self.endpoint, account_key_file=str(file))
        return StoreLocation(azure=where, prefix=prefix)


@contextmanager
def azure_server() -> Iterator[AzureServer]:
    folder = Path(tempfile.mkdtemp(prefix="pgw-azure-"))
    server = AzureServer(folder, free_port())
    command: list[str | Path] = [programs() / "azurite-blob", "--blobHost", HOST, "--blobPort", str(server.port)]
    command += ["--location", folder / "data", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    try:
        with _running(command, folder, server.port):
            yield server
    finally:
        shutil.rmtree(folder)
