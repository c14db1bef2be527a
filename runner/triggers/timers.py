"""Timers: each tick becomes one asynchronous invocation, whatever is restarted meanwhile.

Ticks that were missed while nothing ran (or the clock stood still) are made up for by one: the latest of
them is fired, with its own time in the event; the others are dropped. What was missed while a timer was
disabled, or before it was made or changed, is no tick of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from snapfork.runner.invocations.invoker import Resolver
from snapfork.runner.invocations.model import Invocation, Task
from snapfork.runner.registry import schedules
from snapfork.runner.registry.errors import NotFound, OperationError
from snapfork.runner.registry.model import Trigger
from snapfork.runner.triggers import events
from snapfork.runner.triggers.events import Site
from snapfork.runner.triggers.memory import Memory

LONGEST_S = 30.0
"""The clock is looked at this often at least: it may have been set."""
AGAIN_S = 1.0


class Operations(Resolver, Protocol):
    """What triggers need of registry.operations."""

    def triggers(self, kind: str) -> list[Trigger]: ...
    def subscribe(self, told: Callable[[str, str], None]) -> None: ...


class Enqueues(Protocol):
    """What triggers need of the queue."""

    async def enqueue(self, invocation: Invocation, delay: float = 0.0, task_id: str = "") -> Task: ...


@dataclass(frozen=True)
class Means:
    """What all triggers work with. `clock`: seconds since the epoch."""

    operations: Operations
    queue: Enqueues
    memory: Memory
    site: Site = Site()
    clock: Callable[[], float] = time.time


class Timers:
    """See the module."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._last: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fire what is due, from now on."""
        self._last = await self._means.memory.ticks()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Fire nothing more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def changed(self) -> None:
        """Timers may have been made, changed or deleted; or the clock was moved."""
        self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            upcoming = await self.step()
            wait = LONGEST_S if upcoming is None else min(LONGEST_S, max(0.0, upcoming - self._means.clock()))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)

    async def step(self) -> float | None:
        """Fire what is due now; when the next tick is due."""
        upcoming: list[float] = []
        for trigger in self._means.operations.triggers("timer"):
            if not trigger.enabled:
                continue
            try:
                due = await self._look(trigger)
            except OperationError as error:
                print(f"Timer {trigger.name} of {trigger.function}: {error.message}", file=sys.stderr)
                due = self._means.clock() + AGAIN_S
            if due is not None:
                upcoming.append(due)
        return min(upcoming, default=None)

    async def _look(self, trigger: Trigger) -> float | None:
        """Fire this one's tick if there is one; when its next is."""
        schedule = schedules.parse(trigger.config["cronExpression"])
        now = self._means.clock()
        last = max(self._last.get(trigger.id, 0.0), trigger.modified)
        after = schedule.after(_moment(last))
        if after is None or after.timestamp() > now:
            return None if after is None else after.timestamp()
        latest = schedule.before(_moment(now)) or after
        tick = max(latest.timestamp(), after.timestamp())
        await self._fire(trigger, tick)
        self._last[trigger.id] = tick
        following = schedule.after(_moment(tick))
        return None if following is None else following.timestamp()

    async def _fire(self, trigger: Trigger, tick: float) -> None:
        try:
            dialect = self._means.operations.resolve(trigger.function, trigger.qualifier).function.dialect
        except NotFound:
            return  # deleted at this moment
        await self._means.queue.enqueue(
            Invocation(
                events.event_id(trigger, tick), trigger.function, trigger.qualifier,
                events.timer(trigger, dialect, tick, self._means.site),
                trigger="timer", dialect=dialect, content_type="application/json",
            )
        )  # fmt: skip
        await self._means.memory.ticked(trigger.id, tick)


def _moment(at: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at, datetime.UTC)
