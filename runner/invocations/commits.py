"""One thread that writes: whatever has been given meanwhile is applied in one transaction, with one fsync.

Callers are coroutines of one event loop. The GIL is why statements cover many rows: sqlite3 lets go of it in
every step, and under a busy event loop each step then waits for its turn. It is also why what came in one
turn of the loop goes to the writer at once: woken by the first, it would take the GIL from the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from snapfork.runner.registry.errors import Unavailable

SWITCH_S = 1e-4
"""How long the event loop keeps the GIL from the writer, which needs it between two steps of SQLite, and the
writer from the event loop. With Python's 5 ms the two wait for each other more than for the disk."""
TOGETHER = 32
"""Operations that go to the writer before the turn of the loop is over: the rest is made while they are
written. With fewer, the two wait for each other more than they save."""
MAX_BATCH = 1000
"""Operations of one commit: beyond, waiting for the rest costs the first more than the fsync."""

Apply = Callable[[sqlite3.Connection, Sequence[Any]], list[Any]]
"""Applies operations in one transaction; gives the result of each, an exception where one is refused."""
_Entry = tuple[Any, "asyncio.Future[Any] | None"]


class GroupCommit:
    """Applies what is given in the order of `apply`; `connect` opens the connection, in the thread."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        apply: Apply,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._connect = connect
        self._apply = apply
        self._loop = loop
        self._gathered: list[_Entry] = []
        self._queue: queue.SimpleQueue[list[_Entry] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="queue-writer", daemon=True)
        self._ready: asyncio.Future[None] = loop.create_future()
        self._closed = False
        self._given = 0
        self._applied = 0
        self.commits = 0

    async def start(self) -> None:
        """Open the connection. Raises what opening raised."""
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
        self._thread.start()
        await self._ready

    def do(self, operation: Any) -> asyncio.Future[Any]:
        """Give an operation; the future has its result once it is on the disk."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self.give(operation, future)
        return future

    def give(self, operation: Any, future: asyncio.Future[Any] | None = None) -> None:
        """Give an operation whose end nobody waits for."""
        if self._closed:
            raise RuntimeError("The queue is closed.")
        self._given += 1
        self._gathered.append((operation, future))
        together = len(self._gathered)
        if together == 1:
            self._loop.call_soon(self._hand_over)
        elif together == TOGETHER:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []

    async def settled(self, nothing: Any) -> None:
        """Wait until all that was given before can be read; `nothing` is an operation that does nothing."""
        if self._applied != self._given:
            await self.do(nothing)

    @property
    def waiting(self) -> int:
        """Operations that are not yet applied."""
        return self._given - self._applied

    async def close(self) -> None:
        """Apply what was given, then end the thread."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._queue.put(None)
            await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        try:
            connection = self._connect()
        except Exception as error:
            self._loop.call_soon_threadsafe(self._ready.set_exception, error)
            return
        self._loop.call_soon_threadsafe(self._ready.set_result, None)
        try:
            while self._turn(connection):
                pass
        finally:
            connection.close()

    def _turn(self, connection: sqlite3.Connection) -> bool:
        """One commit; False when it was the last."""
        entries = self._queue.get()
        batch: list[_Entry] = []
        while entries is not None:
            batch += entries
            if len(batch) >= MAX_BATCH or self._queue.empty():
                break
            entries = self._queue.get()
        if batch:
            self._commit(connection, batch)
        return entries is not None

    def _commit(self, connection: sqlite3.Connection, batch: list[_Entry]) -> None:
        results: list[Any]
        try:
            results = self._apply(connection, [operation for operation, _ in batch])
        except Exception as error:  # a full disk, a damaged file: everybody is told
            with contextlib.suppress(sqlite3.Error):  # on a full disk SQLite may have rolled back itself
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            told: Exception = error
            if isinstance(error, sqlite3.Error):
                told = Unavailable(f"the queue cannot be written to: {error}", "queue")
            results = [told] * len(batch)
        self.commits += 1
        self._applied += len(batch)
        answers = [
            (future, result) for (_, future), result in zip(batch, results, strict=True) if future is not None
        ]
        if answers:
            self._loop.call_soon_threadsafe(_answer, answers)


def _answer(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in answers:
        if future.done():  # whoever asked is gone
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
