"""How many instances a function keeps: spares, provisioned ones, and which idle ones leave. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Census(NamedTuple):
    """Instances of one function's current generation; `total` includes the starting ones."""

    total: int
    spares: int


class Wanted(NamedTuple):
    """minimum: provisioned instances, busy ones included. spares: ready ones on top. maximum: the cap."""

    minimum: int
    spares: int
    maximum: int


def starts_needed(census: Census, wanted: Wanted) -> int:
    """How many instances to start ahead of any request."""
    worked = census.total - census.spares
    fresh_wanted = max(0, wanted.minimum - worked) + wanted.spares
    room = max(0, wanted.maximum - census.total)
    return max(0, min(fresh_wanted - census.spares, room))


def idle_leavers(idle_ns: Iterable[tuple[int, int]], limit_ns: int, worked: int, minimum: int) -> list[int]:
    """Numbers of the instances to send away: idle longer than `limit_ns`, longest first.

    `idle_ns` gives (number, nanoseconds idle) of idle instances that have worked; `worked` of them and the
    busy ones exist, and `minimum` stay.
    """
    late = sorted((entry for entry in idle_ns if entry[1] >= limit_ns), key=lambda entry: -entry[1])
    return [number for number, _ in late[: max(0, worked - minimum)]]


def surplus_spares(spares: int, total: int, wanted: Wanted) -> int:
    """How many spares are too many (after `min_instances` were reached by working ones)."""
    worked = total - spares
    return max(0, spares - wanted.spares - max(0, wanted.minimum - worked))


def effective_maximum(asked: int, private_bytes: int, free_bytes: int) -> int:
    """`max_instances` lowered so that the private memory of all fits half of the free memory; at least 1."""
    if private_bytes <= 0:
        return asked
    return max(1, min(asked, free_bytes // 2 // private_bytes))


def backoff_s(failures: int) -> float:
    """Seconds to wait before the next attempt after `failures` in a row: 0.5 doubling to 30."""
    doublings = min(max(0, failures - 1), 6)  # more would be 30 all the same, and some day no float
    return min(30.0, 0.5 * 2.0**doublings)
