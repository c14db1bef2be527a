"""The durable queue of asynchronous invocations: what `enqueue` has answered for is on the disk.

One SQLite file (DATA_DIR/queue.sqlite3, WAL, synchronous=FULL) with one writer thread that commits together
whatever has come meanwhile, so that many callers share an fsync. Executed at least once: a row is leased to
who runs it, and a lease that nobody prolongs, or whose process was killed, makes the row due again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from snapfork.runner.invocations.model import Invocation, Task


@dataclass(frozen=True)
class Sizes:
    """How much the queue holds. rows: by state; file: bytes of the database with its log; dead: letters."""

    rows: dict[str, int]
    file: int
    dead: int


class Queue:
    """See the module. All methods belong to one event loop. `clock` gives seconds since the epoch.

    keep(function, qualifier) says whether tasks are kept to be looked up (FC's asyncTask); one that was
    given a task id always is.
    """

    def __init__(
        self,
        file: Path,
        clock: Callable[[], float] = time.time,
        keep: Callable[[str, str], bool] = lambda _function, _qualifier: False,
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Open (or make) the file; what was running when the last process ended is due again."""
        raise NotImplementedError

    async def close(self) -> None:
        """Commit what was given and close the file."""
        raise NotImplementedError

    async def enqueue(self, invocation: Invocation, delay: float = 0.0, task_id: str = "") -> Task:
        """Take an invocation; returns after it is on the disk. It runs `delay` seconds from now at the
        earliest.

        A repeated invocation id gives the Task that it has already, and does not run twice. Raises
        AlreadyExists (kind "task") for a task id that the function has already, Conflict for an invocation
        id of another function, LimitExceeded (kind "queue") when the file has grown to its limit.
        """
        raise NotImplementedError

    async def get(self, function: str, task_id: str) -> Task:
        """The task by its id or its request id, with payload, result and events. Raises NotFound ("task")."""
        raise NotImplementedError

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
    ) -> tuple[list[Task], str]:
        """Kept tasks of a function and the token of the next page ("" for none).

        qualifier "" is the unqualified function's. begin, end: of the time when it started (0: open).
        payloads: whether payload and result are filled in. Raises Invalid("start") for a foreign token.
        """
        raise NotImplementedError

    async def stop(self, function: str, task_id: str) -> Task:
        """Stop a task: one that waits never runs ("Stopped"), one that runs is abandoned ("Stopping", then
        "Stopped"). One that has ended is given back as it is. Raises NotFound ("task")."""
        raise NotImplementedError

    async def dead_letters(
        self, function: str = "", *, start: str = "", limit: int = 50
    ) -> tuple[list[Task], str]:
        """What has failed for good (of all functions: ""), newest first, with payload, and the next token."""
        raise NotImplementedError

    async def redrive(self, ids: Sequence[str]) -> list[Task]:
        """Run dead letters, named by their request ids, anew as if they had just been enqueued; those that
        are no dead letters are left out of the answer."""
        raise NotImplementedError

    async def sizes(self) -> Sizes:
        """How much there is."""
        raise NotImplementedError
