"""Trying new code: whether a unit's very revision comes up in the gateway, which alone can say so."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from snapfork.runner.registry.core import Gateway
from snapfork.runner.services.link import GatewayError
from snapfork.runner.units import Unit

START_S = 600.0
"""How long the gateway is asked to wait at a time; it ends a start that takes too long itself."""
PAUSE_S = 0.5
"""Between two questions to a gateway that was busy, gone, or told of something else."""
LAST_LINES = 6
FAILED = "start_failed"
Start = tuple[str, str]
"""A unit's name and revision."""


class Told(Protocol):
    """What this needs of the reconciler."""

    async def put_as_wanted(self, name: str) -> tuple[Unit | None, str]: ...


@dataclass(frozen=True)
class Failure:
    """Why code does not start: the gateway's sentence, with the last lines of a traceback below it."""

    reason: str
    code: str = "StartFailed"

    @classmethod
    def of(cls, sentence: str, traceback: str | None) -> Failure:
        """From what the gateway says."""
        lines = (traceback or "").rstrip().splitlines()[-LAST_LINES:]
        return cls("\n".join([sentence, *lines]))


class Starts:
    """`hear` the gateway's "unit" events; `attempt` builds what has to be built, a few at a time."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._waiting: dict[Start, list[asyncio.Future[Failure | None]]] = {}
        self._slots = asyncio.Semaphore(max(2, len(os.sched_getaffinity(0))))

    def hear(self, event: Mapping[str, Any]) -> None:
        """One event of the gateway."""
        if event.get("state") not in ("ready", "failed"):
            return
        failure = None
        if event["state"] == "failed":
            failure = Failure.of(str(event.get("sentence") or ""), event.get("traceback"))
        for future in self._waiting.pop((str(event["name"]), str(event["revision"])), ()):
            if not future.done():
                future.set_result(failure)

    def ask_again(self, name: str) -> None:
        """Have attempts at a unit see whether they are still wanted."""
        for start, futures in self._waiting.items():
            for future in futures:
                if start[0] == name and not future.done():
                    future.set_exception(TimeoutError())

    async def attempt(self, name: str, told: Told, wanted: Callable[[], bool]) -> Failure | None:
        """None once the unit's revision of now is up, else why it does not come up.

        wanted: whether anybody still wants to know; after that the answer means nothing.
        """
        while wanted():
            unit, problem = await told.put_as_wanted(name)
            if unit is None and problem:
                return Failure(problem, "EnvironmentFailed")
            if unit is not None:
                with contextlib.suppress(TimeoutError):
                    return await self._race((name, unit.revision))
            await asyncio.sleep(PAUSE_S)
        return None

    async def _race(self, start: Start) -> Failure | None:
        """What is known first: the event, which others' requests may have brought about, or the answer.

        Raises TimeoutError where it is to be asked again.
        """
        event: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(start, []).append(event)
        asking = asyncio.create_task(self._ask(start, event))
        try:
            done, _ = await asyncio.wait([event, asking], return_when=asyncio.FIRST_COMPLETED)
            return event.result() if event in done else asking.result()
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                await asking
            left = [one for one in self._waiting.pop(start, ()) if one is not event]
            if left:
                self._waiting[start] = left

    async def _ask(self, start: Start, event: asyncio.Future[Failure | None]) -> Failure | None:
        name, revision = start
        async with self._slots:
            try:
                await self._gateway.wait(name, START_S)
                # That is said as soon as it can be called; only when it is warmed up it is sure to stay.
                while not event.done():
                    about = (await self._gateway.status()).get(name, {})
                    if not about.get("building"):
                        if about.get("state") == "ready" and about.get("serving") == revision:
                            return None
                        break
                    await asyncio.wait([event], timeout=PAUSE_S)
            except GatewayError as error:
                if error.kind == FAILED:
                    return Failure.of(str(error), error.traceback)
        raise TimeoutError
