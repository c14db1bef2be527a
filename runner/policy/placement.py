"""Where a request goes: pure choice from the observed state of one function's instances."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple, Protocol, TypeVar


class Candidate(Protocol):
    """What the choice needs to know of an instance that may be lent connections.

    running: requests in progress or on their way to it. lent: connections it holds, idle ones included.
    fresh: it has had no request yet.
    """

    fresh: bool

    @property
    def running(self) -> int: ...

    @property
    def lent(self) -> int: ...


class Limits(NamedTuple):
    """concurrency: requests at a time per instance. maximum: instances. cores: usable processors."""

    concurrency: int
    maximum: int
    cores: int


class Move(Enum):
    """What to do when no instance is to take the request at once."""

    FORK = "fork"
    WAIT = "wait"


C = TypeVar("C", bound=Candidate)


def place(candidates: Iterable[C], total: int, limits: Limits, can_start: bool) -> C | Move:
    """Choose an instance for one request, or say to fork one, or to let it wait.

    Order: an idle instance that has worked before (its pages are warm), a spare, then, below the number of
    cores, a fork; beyond that the least loaded instance with room, a fork up to the maximum, the queue.
    `total` counts instances that live or start; `can_start` is False while no template is there.
    """
    spare: C | None = None
    partial: C | None = None
    working = least = 0
    for one in candidates:
        running = one.running
        if running:
            working += 1
        if one.lent >= limits.concurrency:
            continue
        if not running:
            if not one.fresh:
                return one
            spare = spare or one
        elif partial is None or running < least:
            partial, least = one, running
    if spare is not None:
        return spare
    may_fork = can_start and total < limits.maximum
    if may_fork and (partial is None or working < limits.cores):
        return Move.FORK
    if partial is not None:
        return partial
    return Move.WAIT


def starts_for_waiting(waiting: int, working: int, starting: int, limits: Limits) -> int:
    """How many instances to start for `waiting` requests that no instance has room for.

    `working` instances are full, `starting` ones will each take some. As in `place`, requests spread over
    the cores before they fill instances to `concurrency`.
    """
    wanted = min(waiting, max(limits.cores - working, -(-waiting // limits.concurrency)))
    return max(0, min(wanted - starting, limits.maximum - working - starting))
