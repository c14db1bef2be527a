"""The event loop of a template's start-up code and warm-up requests, and how it ends without unwinding them.

The end of such a loop is not the end of `asyncio.run`: cancelling tasks, closing asynchronous generators or
dropping either would run the `finally` blocks of start-up code that instances still depend on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from snapfork.runner.processes.descriptors import open_descriptors

try:
    import uvloop
except ImportError:  # the app's interpreter has none that fits
    uvloop = None  # type: ignore[assignment]

T = TypeVar("T")

# What was suspended when its loop ended. Referenced for as long as the process lives, and the process ends by
# os._exit or a signal, so that neither the collector nor interpreter shutdown ever unwinds it.
_held: list[object] = []


def hold(*things: object) -> None:
    """Keep `things` alive until the process is gone."""
    _held.extend(things)


def is_held(thing: object) -> bool:
    """Whether `thing` was given to `hold`."""
    return any(kept is thing for kept in _held)


def new_loop() -> asyncio.AbstractEventLoop:
    """A fresh event loop: uvloop's, or asyncio's where there is none."""
    return asyncio.new_event_loop() if uvloop is None else uvloop.new_event_loop()


async def _nothing() -> None:
    return None


def rest_default_executor(loop: asyncio.AbstractEventLoop) -> None:
    """End the threads of the loop's default executor; the next use makes new ones."""
    previous = _executors.pop(loop, None)
    if previous is not None:
        previous.shutdown(wait=True)
    # The loop's own would not be reachable: uvloop keeps it in a C attribute.
    _executors[loop] = ThreadPoolExecutor(thread_name_prefix="asyncio")
    loop.set_default_executor(_executors[loop])


_executors: dict[asyncio.AbstractEventLoop, ThreadPoolExecutor] = {}


def own_executors() -> set[int]:
    """The ids of the default executors made here: they are ended with their loops."""
    return {id(executor) for executor in _executors.values()}


class TemplateLoop:
    """An event loop with the descriptors it owns (`fds`), which an audit leaves out while it is open."""

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop] = new_loop) -> None:
        before = open_descriptors()
        self.loop = factory()
        rest_default_executor(self.loop)
        self.loop.run_until_complete(_nothing())
        self.fds = frozenset(fd for fd, target in open_descriptors().items() if before.get(fd) != target)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` to its end; other tasks of the loop advance meanwhile."""
        return self.loop.run_until_complete(coroutine)

    def pending(self) -> set[asyncio.Task[Any]]:
        """Tasks that are still running on this loop."""
        return asyncio.all_tasks(self.loop)

    def end(self) -> None:
        """Close the loop; tasks and generators on it stay suspended for ever."""
        rest_default_executor(self.loop)
        _executors.pop(self.loop)
        hold(self.loop, *self.pending())
        self.loop.close()
        asyncio.set_event_loop(None)
