"""What triggers remember across restarts: DATA_DIR/triggers.sqlite3.

Of timers the last tick that was fired; of watched directories every file that was told of, as it was then.
Written after the queue has the event on its disk: at worst an event is made again, with the same id.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from snapfork.runner.invocations.database import open_file

T = TypeVar("T")
FILE = "triggers.sqlite3"
MIGRATIONS = (
    """
    CREATE TABLE ticks (trigger_id TEXT PRIMARY KEY, tick REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE watches (trigger_id TEXT PRIMARY KEY, directory TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE files (
        trigger_id TEXT NOT NULL,
        path TEXT NOT NULL,
        mtime_ns INTEGER NOT NULL,
        size INTEGER NOT NULL,
        PRIMARY KEY (trigger_id, path)
    ) WITHOUT ROWID;
    """,
)


class Seen(NamedTuple):
    """A file as it was told of."""

    mtime_ns: int
    size: int


class Memory:
    """See the module. One thread does the work; methods belong to one event loop."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._thread = ThreadPoolExecutor(1, "triggers-memory")
        self._connection: sqlite3.Connection | None = None

    async def start(self) -> None:
        """Open or make the file. Raises UserError when it cannot be used."""
        self._connection = await self._do(lambda: open_file(self._file, MIGRATIONS))

    async def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            await self._do(self._connection.close)
            self._connection = None
        self._thread.shutdown()

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _with(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        if connection is None:
            raise RuntimeError("The triggers' file is not open.")
        return await self._do(lambda: work(connection))

    async def ticks(self) -> dict[str, float]:
        """The last tick of each timer, by the trigger's id."""
        query = "SELECT trigger_id, tick FROM ticks"
        return dict(await self._with(lambda connection: connection.execute(query).fetchall()))

    async def ticked(self, trigger: str, tick: float) -> None:
        """A tick was fired."""
        sql = "INSERT OR REPLACE INTO ticks VALUES (?, ?)"
        await self._with(lambda connection: connection.execute(sql, (trigger, tick)))

    async def files(self, trigger: str, directory: str) -> dict[str, Seen] | None:
        """The files that were told of; None when this directory has not been watched for this trigger."""

        def read(connection: sqlite3.Connection) -> dict[str, Seen] | None:
            query = "SELECT directory FROM watches WHERE trigger_id = ?"
            row = connection.execute(query, (trigger,)).fetchone()
            if row is None or row[0] != directory:
                return None
            rows = connection.execute(
                "SELECT path, mtime_ns, size FROM files WHERE trigger_id = ?", (trigger,)
            )
            return {path: Seen(mtime_ns, size) for path, mtime_ns, size in rows.fetchall()}

        return await self._with(read)

    async def begin_files(self, trigger: str, directory: str, there: dict[str, Seen]) -> None:
        """From now on this directory is watched for this trigger; what is there already is known."""

        def write(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                _forget(connection, [trigger])
                connection.execute("INSERT INTO watches VALUES (?, ?)", (trigger, directory))
                rows = [(trigger, path, *seen) for path, seen in there.items()]
                connection.executemany("INSERT INTO files VALUES (?, ?, ?, ?)", rows)

        await self._with(write)

    async def change_files(self, trigger: str, told: dict[str, Seen | None]) -> None:
        """Files were told of as they are now; None: that they are gone."""

        def write(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                rows = [(trigger, path, *seen) for path, seen in told.items() if seen is not None]
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
                gone = [(trigger, path) for path, seen in told.items() if seen is None]
                connection.executemany("DELETE FROM files WHERE trigger_id = ? AND path = ?", gone)

        await self._with(write)

    async def keep_only(self, triggers: Iterable[str]) -> None:
        """Forget all other triggers: they have been deleted."""
        kept = set(triggers)

        def write(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                query = "SELECT trigger_id FROM ticks UNION SELECT trigger_id FROM watches"
                known = {row[0] for row in connection.execute(query).fetchall()}
                _forget(connection, known - kept)

        await self._with(write)


class _transaction:
    """A transaction, as a block."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")


def _forget(connection: sqlite3.Connection, triggers: Iterable[str]) -> None:
    for trigger in triggers:
        for table in ("ticks", "watches", "files"):
            connection.execute(f"DELETE FROM {table} WHERE trigger_id = ?", (trigger,))
