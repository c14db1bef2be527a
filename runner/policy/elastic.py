"""How many instances a function keeps: spares, provisioned ones, and which idle ones leave. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

MOST_INSTANCES = 100
"""Of a deployed function that serves one request per instance, where nothing else is said."""
MOST_OF_ALL = 1000
SMALL_BYTES = 8 << 20
"""What a small instance needs of its own, by which the machine's memory says how many there can be."""
ASKED_RETRY_S = 1.0
"""How long a waiting request is kept from a further try at most, so that a cured cause is noticed soon."""


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


def account_instances(memory_bytes: int) -> int:
    """How many instances all deployed functions may have together, on a machine with so much memory."""
    return max(2 * MOST_INSTANCES, min(MOST_OF_ALL, memory_bytes // 2 // SMALL_BYTES))


def growth(late: int, room: int, cores: int, runnable: int) -> int:
    """How many instances to start for `late` requests that have waited for their turn too long.

    room: how many there may be more. runnable: threads of the machine that run or want to; where processors
    are what is short, more instances would only slow down those that work.
    """
    return 0 if runnable > 2 * cores else max(0, min(late, room, 4 * cores))


def backoff_s(failures: int) -> float:
    """Seconds to wait before the next attempt after `failures` in a row: 0.5 doubling to 30."""
    doublings = min(max(0, failures - 1), 6)  # more would be 30 all the same, and some day no float
    return min(30.0, 0.5 * 2.0**doublings)


class StartFailures:
    """Starts that failed in a row, and when the next may be tried. Times are nanoseconds of one clock."""

    def __init__(self) -> None:
        self.count = 0
        self._ahead_ns = 0
        self._asked_ns = 0

    def note(self, now_ns: int) -> float:
        """One more has failed; the seconds until instances are started ahead again.

        The first can be an accident and delays nothing. A request that waits does not wait that long.
        """
        self.count += 1
        delay = backoff_s(self.count - 1) if self.count > 1 else 0.0
        self._ahead_ns = now_ns + int(delay * 1e9)
        self._asked_ns = now_ns + int(min(delay, ASKED_RETRY_S) * 1e9)
        return delay

    def over(self) -> None:
        """A start succeeded, or is of other code."""
        self.count = self._ahead_ns = self._asked_ns = 0

    def may_start(self, now_ns: int, *, asked: bool) -> bool:
        """Whether one may be tried now; `asked`: for a request that waits."""
        return now_ns >= (self._asked_ns if asked else self._ahead_ns)
