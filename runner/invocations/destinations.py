"""Bringing results to their destinations: what is to be delivered lies in the queue's file until it has been.

Delivered at least once, tried again after 1 s to 5 min for a day, then given up. What one address takes long
to accept, or never does, holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from snapfork.runner.invocations import targets
from snapfork.runner.invocations.invoker import Resolver
from snapfork.runner.invocations.item import Delivery
from snapfork.runner.invocations.model import Invocation
from snapfork.runner.invocations.queue import Queue
from snapfork.runner.invocations.targets import Target
from snapfork.runner.policy import retries
from snapfork.runner.registry.errors import Invalid, NotFound, OperationError

GIVE_UP_S = 86400.0
BATCH = 200
PER_TARGET = 4
"""Deliveries to one address at a time; lines for one file go together."""
HTTP_TIMEOUT_S = 30.0
HTTP_THREADS = 16
DELIVERED = "Succeeded"


class Failed(Exception):
    """It did not work; `for_good`: and never will."""

    def __init__(self, message: str, for_good: bool = False) -> None:
        super().__init__(message)
        self.for_good = for_good


class Destinations:
    """See the module. outbox: the directory that file:/// addresses lie in."""

    def __init__(
        self, queue: Queue, operations: Resolver, outbox: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._queue = queue
        self._operations = operations
        self._outbox = outbox
        self._clock = clock
        self._busy: dict[int, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._next: float | None = None
        self._threads = ThreadPoolExecutor(HTTP_THREADS, "destination")
        self._loop_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Deliver what is due, from now on."""
        await asyncio.to_thread(self._outbox.mkdir, parents=True, exist_ok=True, mode=0o700)
        self._loop_task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; what is under way is delivered again after the next start."""
        tasks = [*self._tasks, *([self._loop_task] if self._loop_task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """Something was added, or the clock has moved."""
        self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            await self.step()
            wait = None if self._next is None else max(0.0, self._next - self._clock())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)

    async def step(self) -> int:
        """Begin what is due and may be begun; how many deliveries that were."""
        full = [target for target, count in Counter(self._busy.values()).items() if count >= PER_TARGET]
        found, self._next = await self._queue.deliveries(BATCH, list(self._busy), full)
        if len(found) == BATCH:
            self._next = self._clock()
        groups: dict[str, list[Delivery]] = {}
        for one in found:
            groups.setdefault(one.target, []).append(one)
        for target, members in groups.items():
            if target.startswith("file:"):
                self._begin(target, members)
            else:
                for one in members[: PER_TARGET - list(self._busy.values()).count(target)]:
                    self._begin(target, [one])
        return len(found)

    def _begin(self, target: str, group: list[Delivery]) -> None:
        for one in group:
            self._busy[one.number] = target
        task = asyncio.create_task(self._deliver(target, group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, target: str, group: list[Delivery]) -> None:
        """One delivery, or several lines of one file."""
        try:
            try:
                await self._hand_over(_parse(target), group)
            except (Failed, OperationError, OSError) as error:
                await self._failed(group, error)
            else:
                await self._queue.delivered(group, DELIVERED)
        finally:
            for one in group:
                self._busy.pop(one.number, None)
            self.wake()

    async def _hand_over(self, target: Target, group: list[Delivery]) -> None:
        loop = asyncio.get_running_loop()
        if target.kind == "file":
            lines = [_line(one) for one in group]
            await loop.run_in_executor(self._threads, targets.append_lines, self._outbox, target.name, lines)
            return
        (one,) = group
        if target.kind == "http":
            await loop.run_in_executor(self._threads, _post, target.name, one)
            return
        try:
            self._operations.resolve(target.name, target.qualifier)
        except NotFound as error:
            raise Failed(error.message, for_good=True) from None
        # The id is the delivery's: brought twice, it is the same invocation, and runs once.
        identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{one.request_id} {one.kind} {one.target} {one.created!r}")
        await self._queue.enqueue(
            Invocation(
                str(identity), target.name, target.qualifier, one.body,
                trigger="destination", dialect=one.dialect, content_type="application/json", chain=one.chain,
            )
        )  # fmt: skip

    async def _failed(self, group: list[Delivery], error: Exception) -> None:
        for_good = isinstance(error, Failed) and error.for_good
        now = self._clock()
        for one in group:
            if for_good or now - one.created > GIVE_UP_S:
                await self._queue.delivered([one], f"Failed: {error}")
            else:
                await self._queue.deliver_again(one, now + retries.delivery_delay(one.attempts + 1))


def _parse(text: str) -> Target:
    """The target. Raises Failed where it is none."""
    try:
        return targets.parse(text)
    except Invalid as error:
        raise Failed(error.message, for_good=True) from None


def _line(delivery: Delivery) -> bytes:
    """A delivery as a line of a file: the record; of a dead letter, its attributes and the payload."""
    if delivery.kind != "dead_letter":
        return delivery.body
    told = {**dict(delivery.attributes), "Payload": delivery.body.decode("utf-8", "replace")}
    return json.dumps(told, separators=(",", ":")).encode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def _post(address: str, delivery: Delivery) -> None:
    """POST it; whatever is not answered 2xx has failed. Runs in a thread."""
    headers = {
        "content-type": "application/json" if delivery.kind != "dead_letter" else "application/octet-stream",
        "x-snapfork-request-id": delivery.request_id,
        "x-snapfork-function": delivery.function,
        "x-snapfork-kind": delivery.kind,
    }
    for name, value in delivery.attributes:
        clean = "".join(character if character.isprintable() else " " for character in value)
        headers[f"x-snapfork-{name}"] = clean.encode("latin-1", "replace").decode("latin-1")
    request = urllib.request.Request(address, delivery.body, headers, method="POST")
    try:
        with _OPENER.open(request, timeout=HTTP_TIMEOUT_S):
            return
    except urllib.error.HTTPError as error:
        raise Failed(f"{address} answered {error.code}.") from None
    except (OSError, ValueError) as error:
        raise Failed(f"{address} cannot be reached ({getattr(error, 'reason', None) or error}).") from None
