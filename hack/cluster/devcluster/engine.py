"""The cluster where a container engine answers: kind, with docker or podman."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from . import config, images, kubectl, pki, s3, toolchain
from .steps import fresh_log, output, run, step, succeeds

S3_HOST = "127.0.0.1"
TOOLS = ("kind", "helm", "kubeconform", "versitygw", "kubectl")


def find() -> str | None:
    """The container engine that answers, if one does."""
    for engine in ("docker", "podman"):
        if shutil.which(engine) and succeeds([engine, "info"]):
            return engine
    return None


def up(engine: str) -> None:
    for name in TOOLS:
        toolchain.build_tool(name)
    if config.CLUSTER_NAME not in _kind(engine, "get", "clusters").split():
        log = fresh_log("kind")
        config.KUBECONFIGS.mkdir(parents=True, exist_ok=True)
        with step("kind create cluster", log):
            run([*_program(), "create", "cluster", "--config", str(config.SOURCE / "kind.yaml"), "--wait", "120s",
                 "--kubeconfig", str(config.ADMIN_KUBECONFIG)], log=log, env=_provider(engine))  # fmt: skip
    else:
        _kind(engine, "export", "kubeconfig", "--name", config.CLUSTER_NAME,
              "--kubeconfig", str(config.ADMIN_KUBECONFIG))  # fmt: skip
    kubectl.wait_ready(120)
    image(engine)
    with step("S3 server"):
        log = fresh_log("image-s3")
        run([engine, "build", "--tag", s3.IMAGE, "--file", str(config.IMAGE_SOURCE / "s3" / "Dockerfile"),
             str(config.GO_SOURCE / "tools")], log=log)  # fmt: skip
        load(engine, s3.IMAGE)
        pki.ensure_for_s3()
        s3.apply(S3_HOST, config.S3_NODE_PORT)


def down(engine: str) -> None:
    if toolchain.is_built("tools", "kind"):
        _kind(engine, "delete", "cluster", "--name", config.CLUSTER_NAME)
    shutil.rmtree(config.STATE, ignore_errors=True)


def image(engine: str) -> None:
    """Builds the images (the engine knows itself what has changed) and loads those that differ."""
    for wanted in images.IMAGES:
        log = fresh_log(f"image-{wanted.tag}")
        with step(f"image {wanted.name}", log):
            run([engine, "build", f"--build-arg=PG_MAJOR={wanted.major}", "--target", wanted.target,
                 "--tag", wanted.name, str(config.CHECKOUT)], log=log)  # fmt: skip
            load(engine, wanted.name)


def load(engine: str, name_or_archive: str) -> None:
    """Loads an image of the engine, or an archive, into the node, unless it's the one loaded last."""
    if Path(name_or_archive).is_file():
        _kind(engine, "load", "image-archive", "--name", config.CLUSTER_NAME, name_or_archive)
        return
    mark = config.RUN / "loaded.json"
    loaded = json.loads(mark.read_text()) if mark.exists() else {}
    identity = output([engine, "image", "inspect", "--format", "{{.Id}}", name_or_archive]).strip()
    if loaded.get(name_or_archive) == identity:
        return
    config.RUN.mkdir(parents=True, exist_ok=True)
    if engine == "docker":
        _kind(engine, "load", "docker-image", "--name", config.CLUSTER_NAME, name_or_archive)
    else:
        archive = config.RUN / "image.tar"
        run([engine, "save", "--output", str(archive), name_or_archive])
        _kind(engine, "load", "image-archive", "--name", config.CLUSTER_NAME, str(archive))
        archive.unlink()
    mark.write_text(json.dumps({**loaded, name_or_archive: identity}))


def status(engine: str) -> bool:
    return config.CLUSTER_NAME in _kind(engine, "get", "clusters").split()


def _program() -> list[str]:
    return [str(toolchain.programs("tools") / "kind")]


def _provider(engine: str) -> dict[str, str]:
    return {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": engine}


def _kind(engine: str, *arguments: str) -> str:
    return output([*_program(), *arguments], env=_provider(engine))
