"""The registry's file: SQLite, written by one thread; what `write` has returned from survives kill -9.

DATA_DIR/registry.sqlite3 is in WAL mode with synchronous=FULL: a commit is on disk when it returns. Writes
that wait at the same time share one commit; one that fails is undone alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, TypeVar

from snapfork.runner.errors import UserError
from snapfork.runner.registry.errors import Unavailable
from snapfork.runner.registry.migrations import MIGRATIONS

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], Any]
FILE = "registry.sqlite3"
MOST_IN_A_COMMIT = 256
HARMLESS = {"snapshots"}
"""What a directory may hold and be closed to others without asking: kept snapshots, private themselves."""


def private_directory(path: str | os.PathLike[str]) -> Path:
    """`path` as a directory that only this user may enter, made if need be. Raises UserError."""
    directory = Path(path)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = os.lstat(directory)
        if not stat.S_ISDIR(about.st_mode):
            raise OSError(None, "it is not a directory")
        if about.st_uid != os.geteuid():
            raise OSError(None, "it belongs to another user")
        if stat.S_IMODE(about.st_mode) & 0o077 and set(os.listdir(directory)) <= HARMLESS:
            directory.chmod(0o700)
        elif stat.S_IMODE(about.st_mode) & 0o077:
            raise OSError(None, f"others may enter it; type: chmod 700 {directory}")
    except OSError as error:
        raise UserError(f"The data directory {directory} cannot be used: {error.strerror}.") from None
    return directory


class Store:
    """The open registry of one data directory. Raises UserError in one sentence if there can be none."""

    def __init__(self, data_dir: str | os.PathLike[str]) -> None:
        self.directory = private_directory(data_dir)
        self.path = self.directory / FILE
        self._lock = _only_one(self.directory)
        self._orders: queue.SimpleQueue[tuple[Write, Future[Any]] | None] = queue.SimpleQueue()
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="registry", daemon=True)
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._lock.close()
            raise

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Run `change` in a transaction; what it returns, once that is on disk."""
        return await asyncio.wrap_future(self.submit(change))

    def submit(self, change: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """As `write`, for those who have no event loop."""
        done: Future[T] = Future()
        self._orders.put((change, done))
        return done

    def close(self) -> None:
        """Finish what was submitted, and let go of the file."""
        self._orders.put(None)
        self._thread.join()
        self._lock.close()

    # -- the writer thread ------------------------------------------------------------------------------

    def _run(self, started: Future[None]) -> None:
        try:
            connection = _open(self.path)
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        with contextlib.closing(connection):
            while (batch := self._next()) is not None:
                _commit(connection, batch)

    def _next(self) -> list[tuple[Write, Future[Any]]] | None:
        """Everything that waits, at least one; None at the end."""
        first = self._orders.get()
        if first is None:
            return None
        batch = [first]
        with contextlib.suppress(queue.Empty):
            while len(batch) < MOST_IN_A_COMMIT:
                more = self._orders.get_nowait()
                if more is None:
                    self._orders.put(None)  # after this batch
                    break
                batch.append(more)
        return batch


def _only_one(directory: Path) -> IO[str]:
    """The lock of a data directory, held as long as the file is open: what is in memory is one process's."""
    file = (directory / "lock").open("a+")
    try:
        os.fchmod(file.fileno(), 0o600)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        pid = file.read().strip() or "another process"
        file.close()
        raise UserError(
            f"The functions of {directory} are served by another runner already (pid {pid}).",
            "Stop it (`runner stop`), or name another --data-dir.",
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _commit(connection: sqlite3.Connection, batch: list[tuple[Write, Future[Any]]]) -> None:
    results: list[tuple[Future[Any], Any]] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for change, done in batch:
            connection.execute("SAVEPOINT one")
            try:
                results.append((done, change(connection)))
            except Exception as error:
                connection.execute("ROLLBACK TO one")
                done.set_exception(error)
            connection.execute("RELEASE one")
        connection.execute("COMMIT")
    except sqlite3.Error as error:  # the disk is full, or broken
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        for _, done in batch:
            if not done.done():
                done.set_exception(Unavailable(f"the registry cannot be written to: {error}", "registry"))
        return
    for done, result in results:
        done.set_result(result)


def _open(path: Path) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # its -wal gets the same mode
        connection = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        migrate(connection, MIGRATIONS, str(path))
    except OSError as error:
        raise UserError(f"The registry {path} cannot be opened: {error.strerror}.") from None
    except sqlite3.Error as error:
        raise UserError(f"The registry {path} cannot be used: {error}.") from None
    return connection


def migrate(connection: sqlite3.Connection, migrations: tuple[str, ...], path: str) -> None:
    """Bring a file to the newest schema, one migration per transaction. Raises UserError if it is newer."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise UserError(
            f"{path} was written by a newer snapfork (schema {version}; this one knows {len(migrations)}).",
            "Upgrade snapfork, or name another --data-dir.",
        )
    for number in range(version, len(migrations)):
        connection.executescript(
            f"BEGIN IMMEDIATE; {migrations[number]}; PRAGMA user_version={number + 1}; COMMIT;"
        )
