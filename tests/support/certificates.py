"""Throwaway certificates for test servers, made with openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServerCertificate:
    """PEM files of a server certificate and of the authority that signed it."""

    authority: Path
    certificate: Path
    key: Path


def server_certificate(folder: Path, *names: str) -> ServerCertificate:
    """A new authority and a certificate of it for `names` (`DNS:localhost`, `IP:127.0.0.1`), in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, authority_key = folder / "ca.crt", folder / "ca.key"
    certificate, key, request = folder / "tls.crt", folder / "tls.key", folder / "tls.csr"
    extensions = folder / "tls.ext"
    extensions.write_text(f"subjectAltName={','.join(names)}\nbasicConstraints=CA:FALSE\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new_key, "-keyout", authority_key, "-out", authority, "-days", "2", "-subj", "/CN=test CA")
    openssl("req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=test server")
    signing: list[str | Path] = [
        "-CA",
        authority,
        "-CAkey",
        authority_key,
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        extensions,
    ]
    openssl("x509", "-req", "-in", request, "-out", certificate, *signing)
    return ServerCertificate(authority=authority, certificate=certificate, key=key)


def openssl(*arguments: str | Path) -> None:
    """Runs openssl; its output is shown only when it fails."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr}")
