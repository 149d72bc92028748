"""Numbers as people read them, and as status keeps them: rounded, so that at rest nothing has to be written."""

from __future__ import annotations

import re
from decimal import Decimal

# Kubernetes API reference, "Quantity": <number> then a decimal or binary suffix, or an exponent. Negative ones are left
# out: nothing that is measured or asked for here can be one.
QUANTITY = r"^\+?([0-9]+\.?[0-9]*|\.[0-9]+)(n|u|m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|[eE][+-]?[0-9]{1,3})?$"
LARGEST = 2**63 - 1
"""Kubernetes caps quantities there."""
BINARY_UNITS = (" B", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
MULTIPLIERS = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


def human_bytes(count: int) -> str:
    """Bytes in the binary unit that Kubernetes would use, with three digits: 1536 -> `1.5Ki`, 10 << 30 -> `10Gi`."""
    power, shown = scaled(count)
    return f"{shown.normalize():f}{BINARY_UNITS[power]}"


def rounded(count: int) -> int:
    """Bytes rounded to what `human_bytes` shows of them, so that status and text agree and small growth is none."""
    power, shown = scaled(count)
    return int(shown * 1024**power)


def scaled(count: int) -> tuple[int, Decimal]:
    """`count` as (power of 1024, number with three digits, or four from 1000 to 1023)."""
    power, value = 0, Decimal(count)
    while True:
        whole = len(str(abs(int(value))))
        shown = round(value, max(0, 3 - whole))
        if abs(shown) < 1024 or power == len(BINARY_UNITS) - 1:
            return power, shown
        power, value = power + 1, value / 1024


def parse_quantity(text: str | int) -> int:
    """A Kubernetes quantity (`10Gi`, `1.5e3`, `2E`) in its base unit, rounded down. Raises ValueError."""
    match = re.match(QUANTITY, str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    number, suffix = match[1], match[2] or ""
    multiplier = MULTIPLIERS[suffix] if suffix in MULTIPLIERS else Decimal(f"1{suffix}")
    return int(min(Decimal(number) * multiplier, Decimal(LARGEST)))


def human_seconds(seconds: float) -> str:
    """A duration in its two largest units: 3725 -> `1h2m`."""
    whole = round(seconds)
    for size, unit, smaller, smaller_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size}{unit}{rest}{smaller_unit}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"
