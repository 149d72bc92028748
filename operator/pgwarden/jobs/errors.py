"""How a task says that it failed: reason, what happened, what to do now."""

from __future__ import annotations

from pgwarden.api.masking import masked


class TaskError(Exception):
    """A failure with a reason, a sentence for people and a remedy; becomes the Result of a task.

    `retryable` says whether the same task may succeed later without anybody changing anything.
    Passwords of connection strings are masked in both texts, whoever wrote them.
    `report` goes into the Result beside them (for example which migration failed, at which statement).
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        remedy: str = "",
        retryable: bool = False,
        report: dict[str, object] | None = None,
    ) -> None:
        message = masked(message)
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.remedy = masked(remedy)
        self.retryable = retryable
        self.report = report or {}
