"""The durable queue of asynchronous invocations: what `enqueue` has answered for is on the disk.

One SQLite file (DATA_DIR/queue.sqlite3, WAL, synchronous=FULL) with one writer thread that commits together
whatever has come meanwhile, so that many callers share an fsync. Executed at least once: a row is leased to
who runs it, and a lease that nobody prolongs, or whose process was killed, makes the row due again. The file
belongs to one process at a time.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from snapfork.runner.errors import UserError
from snapfork.runner.invocations import database, edits, lookup, retention, store
from snapfork.runner.invocations.commits import GroupCommit
from snapfork.runner.invocations.item import Change, Delivery, Feed, Item, meta_of
from snapfork.runner.invocations.lookup import Filter, Sizes
from snapfork.runner.invocations.model import Invocation, QueueState, Task
from snapfork.runner.invocations.retention import Retention
from snapfork.runner.invocations.store import Call
from snapfork.runner.registry import names

T = TypeVar("T")
# The class has a method `list`.
Tasks = list[Task]
Page = tuple[list[Task], str]
Taken = tuple[list[Item], float | None]
Due = tuple[list[Delivery], float | None]
Waiting = list[tuple[str, float]]
LEASE_S = 60.0
"""How long a row is somebody's without a word from him; prolonged by `renew`."""
MAX_BYTES = 4 << 30
CHECKPOINT_PAGES = 4000
"""Pages of the log before they are copied into the file, which takes two syncs more."""
_NOTHING = Call(lambda _connection: None)
RESULT_LIMIT = 1 << 20
"""FC: the part of a result that a task gives back."""
ERROR_LIMIT = 1024
ENDED = frozenset({"Succeeded", "Failed", "Expired", "Stopped", "Invalid"})


class Queue:
    """See the module. All methods belong to one event loop. `clock` gives seconds since the epoch.

    keep(function, qualifier) says whether tasks are kept to be looked up (FC's asyncTask); one that was
    given a task id always is. Methods without `async` return at once and are written with the next commit.
    """

    def __init__(
        self,
        file: Path,
        clock: Callable[[], float] = time.time,
        keep: Callable[[str, str], bool] = lambda _function, _qualifier: False,
        *,
        kept: Retention | None = None,
        max_bytes: int = MAX_BYTES,
        lease: float = LEASE_S,
    ) -> None:
        self.file = file
        self.clock = clock
        self.feed: Feed | None = None
        self.lease = lease
        self._keep = keep
        self._retention = kept or Retention()
        self._writer = store.Writer(max_bytes)
        self._commits: GroupCommit | None = None
        self._reader = ThreadPoolExecutor(1, "queue-reader")
        self._reading: sqlite3.Connection | None = None
        self._lock = -1
        self._last_id = 0
        self._taken: dict[int, Item] = {}

    # -- opening and closing -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Open (or make) the file; what was running when the last process ended is due again. Raises
        UserError when another process has it, or it cannot be used."""
        self._lock = os.open(self.file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._commits = GroupCommit(self._open, self._writer.apply, asyncio.get_running_loop())
            await self._commits.start()
        except BaseException as error:
            os.close(self._lock)
            self._lock = -1
            if isinstance(error, BlockingIOError):
                raise UserError(f"Another runner uses {self.file}.", "Name another --data-dir.") from None
            raise

    def _open(self) -> sqlite3.Connection:
        connection = database.open_file(self.file, store.MIGRATIONS)
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        self._last_id = store.free_held(connection, self.clock())
        return connection

    async def close(self) -> None:
        """Commit what was given and close the file."""
        if self._commits is not None:
            await self._commits.close()
            self._commits = None
        await self._read(lambda connection: connection.close())
        self._reader.shutdown()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def commits(self) -> GroupCommit:
        """The writer. Raises RuntimeError unless the queue is open."""
        if self._commits is None:
            raise RuntimeError("The queue is not open.")
        return self._commits

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What `query` finds, with all that has been given before."""

        def run() -> T:
            if self._reading is None:
                self._reading = database.open_reading(self.file)
            return database.ask(self._reading, query)

        if self._commits is not None:
            await self._commits.settled(_NOTHING)
        return await asyncio.get_running_loop().run_in_executor(self._reader, run)

    async def _write(self, query: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self.commits.do(Call(query))
        return result

    # -- what the faces ask for --------------------------------------------------------------------------

    async def enqueue(self, invocation: Invocation, delay: float = 0.0, task_id: str = "") -> Task:
        """Take an invocation; returns after it is on the disk. It runs `delay` seconds from now at the
        earliest.

        A repeated invocation id gives the Task that it has already, and does not run twice. Raises
        AlreadyExists (kind "task") for a task id that the function has already, Conflict for an invocation
        id of another function or task, LimitExceeded (kind "queue") when the file has grown to its limit.
        """
        now = self.clock()
        function = invocation.function
        feed = self.feed
        held = delay <= 0 and feed is not None and feed.room(function)
        self._last_id += 1
        item = Item(
            self._last_id,
            invocation.id,
            task_id if task_id and task_id != invocation.id else None,
            function,
            names.qualifier(invocation.qualifier),
            now,
            bool(task_id) or self._keep(function, invocation.qualifier),
            meta_of(invocation),
            invocation.payload,
            due=now + (self.lease if held else max(0.0, delay)),
            held=held,
            events=1,
        )
        try:
            known = await self.commits.do(item)
        except asyncio.CancelledError:
            if feed is not None:  # it may be on the disk all the same, and is then somebody's at lease end
                feed.wake(function, item.due)
            raise
        if known is not None:
            found: Task = known
            return found
        task = item.task()
        if held and feed is not None:
            if item.beside:
                item.payload = None
            self._taken[item.id] = item
            feed.put(item)
        elif feed is not None:
            feed.wake(function, item.due)
        return task

    async def get(self, function: str, task_id: str) -> Task:
        """The task by its id or its request id, with payload, result and events. Raises NotFound ("task")."""
        task = await self._read(lambda connection: lookup.get(connection, function, task_id))
        return self._now(task)

    async def list(
        self,
        function: str,
        qualifier: str = "",
        *,
        prefix: str = "",
        state: str = "",
        begin: float = 0.0,
        end: float = 0.0,
        newest_first: bool = True,
        payloads: bool = False,
        start: str = "",
        limit: int = 20,
    ) -> Page:
        """Kept tasks of a function and the token of the next page ("" for none).

        qualifier "" is the unqualified function's. begin, end: of the time when it started (0: open).
        payloads: whether payload, result and events are filled in. Raises Invalid("start") for a foreign
        token.
        """
        wanted = Filter(
            function,
            names.qualifier(qualifier),
            prefix,
            state,
            begin,
            end,
            newest_first,
            payloads,
            start,
            limit,
        )
        return await self._read(lambda connection: lookup.tasks(connection, wanted))

    async def stop(self, function: str, task_id: str) -> Task:
        """Stop a task: one that waits never runs ("Stopped"), one that runs is abandoned ("Stopping", then
        "Stopped"). One that has ended is given back as it is. Raises NotFound ("task")."""
        while True:
            task = await self.get(function, task_id)
            item = next((one for one in self._taken.values() if one.request_id == task.request_id), None)
            if item is not None:
                self._stop(item)
                return self._now(task, item)
            stop = partial(edits.stop_waiting, task.request_id, self.clock())
            if task.state in ENDED or await self._write(stop):
                return await self.get(function, task_id)
            await asyncio.sleep(0.005)  # between the disk and the memory: it is in one of both in a moment

    async def dead_letters(self, function: str = "", *, start: str = "", limit: int = 50) -> Page:
        """What has failed for good (of all functions: ""), newest first, with payload, and the next token."""
        return await self._read(lambda connection: lookup.dead_letters(connection, function, start, limit))

    async def redrive(self, ids: Sequence[str]) -> Tasks:
        """Run dead letters, named by their request ids, anew as if they had just been enqueued; those that
        are no dead letters are left out of the answer."""
        now = self.clock()
        tasks = await self._write(lambda connection: edits.redrive(connection, ids, now))
        if self.feed is not None:
            for function in {task.function for task in tasks}:
                self.feed.wake(function, now)
        return tasks

    async def sizes(self) -> Sizes:
        """How much there is."""
        return await self._read(lookup.sizes)

    def _now(self, task: Task, item: Item | None = None) -> Task:
        """A task as it is in memory, which is newer than the disk."""
        if item is None:
            item = next((one for one in self._taken.values() if one.request_id == task.request_id), None)
        if item is None:
            return task
        return replace(task, state=item.state, started=item.started or 0.0, attempts=item.attempts)

    def _stop(self, item: Item) -> None:
        if item.state in ("Running", "Stopping"):
            if not item.stopping:
                item.stopping = True
                self._change(item, "Stopping", due=item.due, held=True)
                if self.feed is not None:
                    self.feed.cancel(item)
        else:
            self.end(item, "Stopped", error="stopped before it ran")

    # -- what the dispatcher does ------------------------------------------------------------------------

    async def functions(self) -> Waiting:
        """Functions with something to run, and when the first is due."""
        return await self._read(lookup.functions_waiting)

    async def take(self, function: str, limit: int) -> Taken:
        """Lease what is due of a function; also when the next is due that was not taken."""
        now = self.clock()
        until = now + self.lease

        def both(connection: sqlite3.Connection) -> Taken:
            items = store.take(connection, function, now, until, limit)
            return items, lookup.next_due(connection, function)

        found, after = await self._write(both)
        items = [item for item in found if item.id not in self._taken]
        for item in items:
            self._taken[item.id] = item
        return items, after

    async def payload(self, item: Item) -> bytes:
        """The payload of an item that has it on the disk only."""
        return await self._read(lambda connection: lookup.payload(connection, item.id))

    def begin(self, item: Item) -> None:
        """It runs now."""
        now = self.clock()
        item.attempts += 1
        item.started = item.started or now
        item.state = "Running"
        if item.kept:
            self._change(item, "Running", due=item.due, held=True, before=("Dequeued",))

    def end(
        self,
        item: Item,
        state: QueueState,
        *,
        error: str = "",
        result: bytes = b"",
        instance: str = "",
        deliveries: Sequence[Delivery] = (),
        dead: bool = False,
    ) -> None:
        """It has ended. dead: as a dead letter. deliveries: what its destinations are to get."""
        self._taken.pop(item.id, None)
        self._change(
            item, state, due=None, held=False, ended=self.clock(), error=error, instance=instance, dead=dead,
            result=result[:RESULT_LIMIT] if item.kept else None, drop=not (item.kept or dead),
            beside=item.beside, deliveries=tuple(deliveries),
        )  # fmt: skip

    def again(self, item: Item, due: float, *, error: str = "", instance: str = "") -> None:
        """It runs again, at `due` at the earliest."""
        self._taken.pop(item.id, None)
        self._change(item, "Retrying", due=due, held=False, error=error, instance=instance)
        if self.feed is not None:
            self.feed.wake(item.function, due)

    def release(self, item: Item) -> None:
        """Whoever had it does not run it after all: it is due at once."""
        self._taken.pop(item.id, None)
        state: QueueState = "Enqueued" if item.state in ("Dequeued", "Running") else item.state
        self._change(item, state, due=self.clock(), held=False)

    async def renew(self) -> None:
        """Prolong the leases of all that is in memory and has used up a third of its lease."""
        now = self.clock()
        late = [item for item in self._taken.values() if item.due - now < self.lease * 2 / 3]
        if late:
            until = now + self.lease
            await self._write(lambda connection: store.hold(connection, [item.id for item in late], until))
            for item in late:
                item.due = until

    async def sweep(self) -> None:
        """Delete what has been kept long enough."""
        now = self.clock()
        while await self._write(lambda connection: retention.sweep(connection, self._retention, now)):
            pass

    def _change(
        self,
        item: Item,
        state: QueueState,
        *,
        due: float | None,
        held: bool,
        ended: float | None = None,
        before: tuple[str, ...] = (),
        error: str = "",
        **more: Any,
    ) -> None:
        item.state = state
        events: tuple[dict[str, Any], ...] = ()
        if item.kept:
            now = self.clock()
            names = (*before, state)
            events = tuple(
                store.event(item.events + number, name, now, error[:ERROR_LIMIT] if name == state else "")
                for number, name in enumerate(names)
            )
            item.events += len(events)
        self.commits.give(
            Change(
                item.id, state, due, held, item.started, ended, item.attempts, item.errors,
                item.system_errors,
                error=error[:ERROR_LIMIT], events=events, **more,
            )
        )  # fmt: skip

    # -- deliveries to destinations ----------------------------------------------------------------------

    async def deliveries(self, limit: int, busy: Sequence[int] = (), full: Sequence[str] = ()) -> Due:
        """What is to be delivered now, and when the next is due beside those; but not the numbers in `busy`
        and nothing for the targets in `full`."""
        now = self.clock()
        return await self._read(lambda connection: lookup.deliveries(connection, now, limit, busy, full))

    async def delivered(self, group: Sequence[Delivery], status: str) -> None:
        """Deliveries have ended, in success or for good; `status` is kept with their invocations."""
        await self._write(partial(edits.end_deliveries, group, status))

    async def deliver_again(self, delivery: Delivery, due: float) -> None:
        """A delivery has failed and is tried again at `due`."""
        await self._write(partial(edits.postpone_delivery, delivery, due))
