"""From which minor release on incremental backup can be trusted, for each major version: data, and one question. Pure.

The releases of 12 November 2026 mended faults by which an incremental backup could miss changed blocks, so that what
was restored from it was corrupt without any error. Keep this table current: when release notes tell of such a fault,
the release that mends it goes in here, and incrementals on older servers, or on backups from them, are refused or
called untrusted. Full backups are not concerned.
"""

from __future__ import annotations

from collections.abc import Mapping

FIRST_WITH_INCREMENTALS = 17
FLOORS: dict[int, int] = {17: 170012, 18: 180007}
"""Major version -> server_version_num of the first release to be trusted; majors after the last one are trusted."""


def below_floor(version_num: int, floors: Mapping[int, int] = FLOORS) -> bool:
    """Whether a server of that version may write incremental backups that miss changes."""
    return version_num < floors.get(version_num // 10000, 0)


def floor_of(version_num: int, floors: Mapping[int, int] = FLOORS) -> str:
    """The first release of that major version to be trusted, for people: 18.7."""
    return release(floors.get(version_num // 10000, version_num))


def release(version_num: int) -> str:
    """180007 -> 18.7."""
    return f"{version_num // 10000}.{version_num % 10000}"
