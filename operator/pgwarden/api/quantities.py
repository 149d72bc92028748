"""Numbers as people read them, and as status keeps them: rounded, so that at rest nothing has to be written."""

from __future__ import annotations

import math

BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
MULTIPLIERS = {
    "": 1,
    "m": 0.001,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
}


def human_bytes(count: int) -> str:
    """Bytes with three significant digits: 1536 -> `1.50 KiB`."""
    value = float(count)
    for unit in BINARY_UNITS:
        if abs(value) < 1000 or unit == BINARY_UNITS[-1]:
            break
        value /= 1024
    if unit == "B":
        return f"{count} B"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def rounded(count: int, digits: int = 3) -> int:
    """`count` rounded to so many significant digits."""
    if count == 0:
        return 0
    scale = digits - 1 - math.floor(math.log10(abs(count)))
    return round(count, scale)


def parse_quantity(text: str | int) -> int:
    """A Kubernetes quantity (`10Gi`) in its base unit, rounded down. Raises ValueError."""
    text = str(text).strip()
    number = text.rstrip("mkKMGTPi")
    suffix = text[len(number) :]
    if suffix not in MULTIPLIERS:
        raise ValueError(f"{text!r} is not a quantity")
    return int(float(number) * MULTIPLIERS[suffix])


def human_seconds(seconds: float) -> str:
    """A duration in its two largest units: 3725 -> `1h2m`."""
    whole = round(seconds)
    for size, unit, smaller, smaller_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size}{unit}{rest}{smaller_unit}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"
