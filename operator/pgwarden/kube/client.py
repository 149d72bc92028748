"""A small client for the API server: plain dictionaries in and out, every call checked against the table of types.

It is built on the asyncio half of the official client (its configuration, credentials and connections) without that
client's generated model classes, which would turn every answer into objects and back.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent_encode

import aiohttp
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from prometheus_client import Histogram

from pgwarden.kube.types import ResourceType

REQUEST_SECONDS = Histogram(
    "pgwarden_operator_api_request_duration_seconds",
    "How long requests to the API server took.",
    ["verb", "resource"],
)
TIMEOUT_SECONDS = 30.0
PAGE = 500
FIELD_MANAGER = "pgwarden"
IN_CLUSTER_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

Body = dict[str, Any]
Bodies = list[Body]


class KubeError(Exception):
    """The API server refused a request, or could not be reached (status 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def already_exists(self) -> bool:
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed a moment later, without anybody changing anything we ask for."""
        return self.status in (0, 401, 408, 429) or self.status >= 500

    @property
    def namespace_terminating(self) -> bool:
        return self.status == 403 and "being terminated" in self.message


class RateLimit:
    """A token bucket: `rate` requests a second, bursts of twice that."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.capacity = 2 * rate
        self.tokens = self.capacity
        self.updated = time.monotonic()

    async def wait(self) -> None:
        """Returns when one more request may be sent."""
        now = time.monotonic()
        self.tokens = min(self.capacity, self.tokens + (now - self.updated) * self.rate) - 1
        self.updated = now
        if self.tokens < 0:
            await asyncio.sleep(-self.tokens / self.rate)


class KubeClient:
    """Requests to one API server."""

    def __init__(self, configuration: Configuration, requests_per_second: float) -> None:
        self.configuration = configuration
        self.rest = RESTClientObject(configuration)
        self.limit = RateLimit(requests_per_second)
        self._writes: set[asyncio.Task[bytes]] = set()

    @classmethod
    async def connect(cls, requests_per_second: float) -> KubeClient:
        """Uses the pod's service account, or else the kubeconfig of whoever runs this."""
        configuration = Configuration()
        if IN_CLUSTER_TOKEN.exists():  # noqa: ASYNC240 - once, before anything else runs
            kubernetes_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await kubernetes_config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return cls(configuration, requests_per_second)

    async def close(self) -> None:
        await self.rest.close()

    async def settled(self) -> None:
        """Returns when the writes that are in flight now have been answered, also those that nobody waits for."""
        if self._writes:
            await asyncio.wait(set(self._writes))

    async def get(self, type_: ResourceType, namespace: str | None, name: str) -> Body | None:
        """The object, or None when there is none."""
        self._check(type_, "get")
        try:
            return await self._request("GET", "get", type_, type_.path(namespace, name))
        except KubeError as error:
            if error.not_found:
                return None
            raise

    async def list(self, type_: ResourceType, namespace: str | None, query: dict[str, str] | None = None) -> list[Body]:
        """All objects that the query (labelSelector, fieldSelector, limit) selects."""
        self._check(type_, "list")
        answer = await self._request("GET", "list", type_, type_.path(namespace), query=query)
        items: list[Body] = answer.get("items", [])
        return items

    async def snapshot(
        self, type_: ResourceType, namespace: str | None, query: dict[str, str] | None = None
    ) -> tuple[Bodies, str]:
        """All objects as they were at one moment, read in pages, and the resource version of that moment."""
        self._check(type_, "list")
        items: Bodies = []
        page = {**(query or {}), "limit": str(PAGE)}
        while True:
            answer = await self._request("GET", "list", type_, type_.path(namespace), query=page)
            items += answer.get("items") or []
            metadata = answer.get("metadata") or {}
            if not metadata.get("continue"):
                return items, str(metadata.get("resourceVersion", ""))
            page["continue"] = metadata["continue"]

    async def create(self, type_: ResourceType, namespace: str, body: Body) -> Body:
        """Creates the object. Raises KubeError (`already_exists` when there is one of that name)."""
        self._check(type_, "create")
        return await self._request("POST", "create", type_, type_.path(namespace), body=body)

    async def merge(self, type_: ResourceType, namespace: str, name: str, patch: Body) -> Body:
        """Lays a JSON merge patch (RFC 7396) over the object."""
        self._check(type_, "patch")
        return await self._request(
            "PATCH", "patch", type_, type_.path(namespace, name), body=patch, content="application/merge-patch+json"
        )

    async def merge_status(self, type_: ResourceType, namespace: str, name: str, patch: Body) -> Body:
        """Lays a JSON merge patch over the object's status."""
        self._check(type_, "patch", "status")
        path = type_.path(namespace, name, "status")
        return await self._request("PATCH", "patch", type_, path, body=patch, content="application/merge-patch+json")

    async def apply(self, type_: ResourceType, namespace: str, body: Body) -> Body:
        """Server-side apply: what `body` says becomes so, whoever owned it before."""
        self._check(type_, "patch")
        path = type_.path(namespace, body["metadata"]["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        content = "application/apply-patch+yaml"
        return await self._request("PATCH", "patch", type_, path, body=body, query=query, content=content)

    async def delete(self, type_: ResourceType, namespace: str, name: str, uid: str | None = None) -> None:
        """Deletes the object and, in the background, what it owns; one that is gone already is no error."""
        self._check(type_, "delete")
        body: Body = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self._request("DELETE", "delete", type_, type_.path(namespace, name), body=body)
        except KubeError as error:
            if not error.not_found:
                raise

    async def update(self, type_: ResourceType, namespace: str, body: Body) -> Body:
        """Replaces the object; the resourceVersion in `body` must be the current one."""
        self._check(type_, "update")
        path = type_.path(namespace, body["metadata"]["name"])
        return await self._request("PUT", "update", type_, path, body=body)

    async def log_tail(
        self, pods: ResourceType, namespace: str, name: str, container: str, lines: int = 10, most_bytes: int = 65536
    ) -> str:
        """The last lines of a container's log, so many bytes at most; empty when it has not started."""
        self._check(pods, "get", "log")
        query = {"container": container, "tailLines": str(lines), "limitBytes": str(most_bytes)}
        path = pods.path(namespace, name, "log")
        try:
            return (await self._raw("GET", "get", pods, path, query=query)).decode(errors="replace")
        except KubeError as error:
            if error.status in (400, 404):
                return ""
            raise

    def _check(self, type_: ResourceType, verb: str, subresource: str | None = None) -> None:
        if not type_.allows(verb, subresource):
            raise PermissionError(f"kube/types.py does not list {verb} on {type_.plural}/{subresource or ''}")

    async def _request(
        self,
        method: str,
        verb: str,
        type_: ResourceType,
        path: str,
        *,
        body: Body | None = None,
        query: dict[str, str] | None = None,
        content: str = "application/json",
    ) -> Body:
        data = await self._raw(method, verb, type_, path, body=body, query=query, content=content)
        try:
            answer: Body = json.loads(data or b"{}")
        except ValueError as error:
            raise KubeError(0, "Unreadable", f"{verb} {path}: the answer is not JSON: {data[:200]!r}") from error
        return answer

    async def _raw(
        self,
        method: str,
        verb: str,
        type_: ResourceType,
        path: str,
        *,
        body: Body | None = None,
        query: dict[str, str] | None = None,
        content: str = "application/json",
    ) -> bytes:
        await self.limit.wait()
        request = self._send(method, verb, type_, path, body=body, query=query, content=content)
        return await (request if method == "GET" else self._to_its_end(request))

    async def _to_its_end(self, write: Coroutine[Any, Any, bytes]) -> bytes:
        """A write whose caller is cancelled goes on: whether it took place must not be left to chance."""
        task = asyncio.create_task(write)
        self._writes.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    def _written(self, task: asyncio.Task[bytes]) -> None:
        self._writes.discard(task)
        # Nobody else looks at how a write ended whose caller is gone.
        if not task.cancelled():
            task.exception()

    async def _send(
        self,
        method: str,
        verb: str,
        type_: ResourceType,
        path: str,
        *,
        body: Body | None,
        query: dict[str, str] | None,
        content: str,
    ) -> bytes:
        headers = {"Accept": "application/json, */*", "Content-Type": content, "User-Agent": FIELD_MANAGER}
        token = await self.configuration.get_api_key_with_prefix("BearerToken")
        if token:
            headers["Authorization"] = token
        url = self.configuration.host + path
        if query:
            url += "?" + "&".join(f"{name}={quote(value)}" for name, value in query.items())
        session = self.rest.pool_manager
        if session is None:
            session = self.rest.pool_manager = self.rest._create_pool_manager()
        payload = json.dumps(body).encode() if body is not None else None
        with REQUEST_SECONDS.labels(verb, type_.plural).time():
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    async with session.request(method, url, headers=headers, data=payload) as response:
                        data: bytes = await response.read()
                        status = response.status
            except (TimeoutError, OSError, aiohttp.ClientError) as error:
                # aiohttp.ClientError: a kept connection that the server closed is no OSError.
                raise KubeError(0, "Unreachable", f"{verb} {path}: {type(error).__name__}: {error}") from error
        if status >= 400:
            raise refused(status, data, f"{verb} {path}")
        return data


def quote(value: str) -> str:
    """A query parameter's value, percent-encoded."""
    return percent_encode(value, safe="")


def refused(status: int, data: bytes, what: str) -> KubeError:
    """The error that an answer's metav1.Status (or anything else) tells of."""
    try:
        told = json.loads(data)
        return KubeError(status, told.get("reason", ""), told.get("message", what))
    except (ValueError, AttributeError):
        return KubeError(status, "", f"{what}: HTTP {status}: {data[:200].decode(errors='replace')}")
