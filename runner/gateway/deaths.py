"""Counting deaths by cause, each once: the pidfd says when, the parent's report or ours says how."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from snapfork.runner.gateway.children import cause_of
from snapfork.runner.gateway.instances import Instance

REPORT_S = 5.0
"""How long a death waits for its parent's or a warden's report before its cause counts as unknown: on a busy
machine they may be slow to say it."""
ASKED_S = 1.0
"""How long somebody who wants to know how it died is kept waiting."""


class Deaths:
    """Adds to `counts`; a dead instance stays in `instances`, by number, until its cause is known."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, counts: Counter[str], instances: dict[int, Instance]
    ) -> None:
        self._loop = loop
        self._counts = counts
        self._instances = instances
        self._waiting: dict[int, Instance] = {}
        self._asking: dict[int, list[Callable[[], None]]] = {}

    def add(self, one: Instance) -> None:
        """An instance is dead; its own `cause`, its bye or its status tell why."""
        if not one.pid:
            self._forget(one)  # ordered of a template that died first: it never lived
        elif one.cause:
            self._count(one, one.cause)
        elif one.said_bye:
            self._count(one, "left")
        elif one.status is not None:
            self._count(one, cause_of(one.status))
        else:
            self._waiting[one.number] = one
            self._loop.call_later(REPORT_S, self._settle, one)

    def reported(self, one: Instance, status: int) -> None:
        """Its parent has collected it, with this wait status."""
        one.status = status
        self._settle(one)
        self._tell(one.number)

    def ask(self, one: Instance, call: Callable[[], None]) -> None:
        """Have `call` called once the wait status of a dead instance is known, or is not to be waited for."""
        if one.status is not None or one.pid == 0:
            call()
            return
        self._asking.setdefault(one.number, []).append(call)
        self._loop.call_later(ASKED_S, self._tell, one.number)

    def _tell(self, number: int) -> None:
        calls = self._asking.pop(number, ())
        if calls and number not in self._waiting:
            self._instances.pop(number, None)
        for call in calls:
            call()

    def _settle(self, one: Instance) -> None:
        if self._waiting.pop(one.number, None) is not None:
            self._count(one, "unknown" if one.status is None else cause_of(one.status))

    def _count(self, one: Instance, cause: str) -> None:
        self._counts[cause] += 1
        self._forget(one)

    def _forget(self, one: Instance) -> None:
        if one.number not in self._asking:  # else its report is still to be found
            self._instances.pop(one.number, None)
