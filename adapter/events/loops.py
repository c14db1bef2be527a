"""An event loop of one's own, kept between the invocations of an async handler."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_own = threading.local()


def loop() -> asyncio.AbstractEventLoop:
    """This thread's loop, made at the first call."""
    found: asyncio.AbstractEventLoop | None = getattr(_own, "loop", None)
    if found is None or found.is_closed():
        found = _own.loop = asyncio.new_event_loop()
    return found


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What `coroutine` returns, run on this thread's loop; beside a loop that runs already, in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return loop().run_until_complete(coroutine)
    with ThreadPoolExecutor(1) as beside:  # a notebook's cell, say
        return beside.submit(asyncio.run, coroutine).result()


def iterate(pieces: AsyncIterator[Any]) -> Iterator[Any]:
    """The items of an asynchronous iterator, one after the other."""
    try:
        while True:
            try:
                piece = run(_next(pieces))
            except StopAsyncIteration:
                return
            yield piece
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            run(close())


async def _next(pieces: AsyncIterator[Any]) -> Any:
    return await pieces.__anext__()
