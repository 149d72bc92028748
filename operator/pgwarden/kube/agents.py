"""Which image an agent runs in, and what every Job gets from the operator's configuration."""

from __future__ import annotations

import secrets

from pgwarden.jobs.launch import Launch
from pgwarden.kube.config import OperatorConfig

NONCE_BYTES = 16


def launch(config: OperatorConfig, name: str, attempt: int, image: str | None) -> Launch:
    """An attempt with a nonce of its own, in a Job of that name; `image` as `agent_image` gives it."""
    return Launch(
        name=name,
        attempt=attempt,
        nonce=secrets.token_hex(NONCE_BYTES),
        image=image or "",
        image_pull_policy=config.image_pull_policy,
        image_pull_secrets=tuple(config.image_pull_secrets),
    )


def agent_image(config: OperatorConfig, major: int | None = None) -> str | None:
    """The image with the tools of that major version of PostgreSQL, or with the newest where none is named."""
    images = config.images.agent
    if major is not None:
        return images.get(str(major))
    newest = max(images, key=int, default=None)
    return images[newest] if newest is not None else None


def image_missing(config: OperatorConfig, major: int) -> str:
    """The sentence for a server whose major version no image is configured for."""
    known = ", ".join(sorted(config.images.agent, key=int)) or "none"
    return (
        f"there is no agent image for PostgreSQL {major} (there are: {known}). "
        f"Set images.agent.{major} in the chart's values"
    )


def account_refused(config: OperatorConfig, name: str | None) -> str:
    """The sentence for a ServiceAccount that jobTemplate may not name; empty when it may."""
    if name is None or name in config.service_accounts:
        return ""
    allowed = ", ".join(config.service_accounts) or "none"
    return (
        f"jobTemplate.serviceAccountName {name} is not among those allowed ({allowed}). "
        "Whoever runs pgwarden adds it to jobServiceAccounts in the chart's values"
    )
