"""When something of a BackupPolicy runs, and what has come of it: part of its spec and of its status."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from pgwarden.api.model import Model, Word
from pgwarden.api.references import rules

FIVE_FIELDS = r"^\\s*(\\S+\\s+){4}\\S+\\s*$"


class ScheduleSpec(Model):
    """When something runs."""

    schedule: Annotated[
        str,
        Field(
            min_length=9,
            max_length=128,
            json_schema_extra=rules(
                (
                    f"self.matches('{FIVE_FIELDS}')",
                    "a schedule has the five fields minute, hour, day of the month, month and day of the week,"
                    " for example 30 1 * * *",
                )
            ),
        ),
    ]
    """Cron expression with five fields."""
    time_zone: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$")] = "UTC"
    """Time zone of the expression, by its name in the IANA database, for example Europe/Berlin."""
    jitter_seconds: Annotated[int | None, Field(ge=0, le=86400)] = None
    """Each policy runs later than the expression says, by its own constant part of so many seconds, so that not all run
    at once. Without it at most a tenth of the time between two runs, and five minutes."""
    starting_deadline_seconds: Annotated[int | None, Field(ge=60, le=31536000)] = None
    """How late a run may still start when it was missed; without it until the next one. However many were missed, one
    is run."""
    suspend: bool = False
    """Holds these runs back."""


class ScheduleStatus(Model):
    """One schedule as it is in force."""

    name: Word
    """Full, Incremental, Logical, Verification or Drill."""
    schedule: Annotated[str, Field(max_length=128)]
    """The cron expression."""
    time_zone: Annotated[str, Field(max_length=64)]
    """Its time zone."""
    jitter_seconds: int = 0
    """How much later than the expression says this policy runs."""
    next_run_time: datetime | None = None
    """When it runs next; absent while it is held back."""
    since: datetime
    """When this schedule was first seen: earlier turns are not made up for."""
    last_schedule_time: datetime | None = None
    """The turn that was run last, as the expression names it, without jitter."""
    clock_resets: int = 0
    """How often the clock was found to have gone back by more than one turn."""
