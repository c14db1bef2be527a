"""Everything that runs invocations, put together for the services process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from snapfork.runner.invocations import dispatcher
from snapfork.runner.invocations.destinations import Destinations
from snapfork.runner.invocations.direct import SOCKET, DirectClient
from snapfork.runner.invocations.dispatcher import Dispatcher, Place
from snapfork.runner.invocations.invoker import Invoker, Logs, Units
from snapfork.runner.invocations.queue import Queue
from snapfork.runner.invocations.store import FILE
from snapfork.runner.registry import names
from snapfork.runner.registry.errors import NotFound
from snapfork.runner.registry.model import Resolved

OUTBOX = "outbox"


class Operations(dispatcher.Operations, Protocol):
    """What is needed of registry.operations."""

    def subscribe(self, told: Callable[[str, str], None]) -> None: ...


@dataclass
class Invocations:
    """`invoker` for synchronous calls, `queue` for the others.

    `open` it, and `begin` when what it needs is there; at the end `end`, then `close`.
    """

    invoker: Invoker
    queue: Queue
    dispatcher: Dispatcher
    destinations: Destinations
    direct: DirectClient

    @classmethod
    async def open(
        cls,
        data_dir: Path,
        runtime_dir: Path,
        operations: Operations,
        gateway: Units,
        telemetry: Logs | None = None,
        clock: Callable[[], float] = time.time,
        place: Place | None = None,
    ) -> Invocations:
        """Open the queue in `data_dir`; from now on invocations are taken, and none is run.

        gateway: `wait(unit, timeout)`; the direct listener is RUNTIME_DIR/invoke.sock. Raises UserError
        when another runner has the data directory, or the file cannot be used.
        """

        def keep(function: str, qualifier: str) -> bool:
            try:
                return operations.async_policy(function, qualifier).tasks
            except NotFound:
                return False

        direct = DirectClient(str(runtime_dir / SOCKET))
        where = place or Place()

        def arn(resolved: Resolved, asked: str) -> str:
            dialect, name = resolved.version.configuration.dialect, resolved.function.name
            # Lambda's $LATEST is in the ARN of who has said it.
            latest = "$LATEST" if asked and dialect != "fc" else ""
            qualifier = resolved.qualifier or latest
            return names.function_arn(dialect, where.region, where.account, name, qualifier)

        invoker = Invoker(operations, gateway, direct, clock, telemetry, arn)
        queue = Queue(data_dir / FILE, clock, keep)
        await queue.start()
        destinations = Destinations(queue, operations, data_dir / OUTBOX, clock)
        running = Dispatcher(queue, operations, invoker, clock, place, destinations.wake)
        opened = cls(invoker, queue, running, destinations, direct)
        operations.subscribe(opened.changed)
        return opened

    async def begin(self) -> None:
        """Run and deliver what waits, and whatever comes. The gateway knows all units by now: what it does
        not know would be backed off."""
        await self.destinations.start()
        await self.dispatcher.start()

    async def end(self, grace: float = 0.0) -> None:
        """Begin nothing more; what still runs after `grace` seconds runs again after the next start."""
        await self.dispatcher.close(grace)
        await self.destinations.close()

    async def close(self) -> None:
        """Write what was given, and take nothing more."""
        await self.queue.close()
        await self.direct.close()
        await asyncio.sleep(0)  # the connections' ends

    def unit_event(self, event: Mapping[str, Any]) -> None:
        """The gateway's event "unit"."""
        self.invoker.unit_event(event)

    def changed(self, kind: str, name: str) -> None:
        """Something of the registry has changed: what was held back for a function is tried again."""
        if kind == "function":
            self.dispatcher.resume(name)
