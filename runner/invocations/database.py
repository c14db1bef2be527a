"""Opening an SQLite file that must survive a kill and a power failure."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from snapfork.runner.errors import UserError
from snapfork.runner.registry.errors import Unavailable
from snapfork.runner.registry.store import migrate

T = TypeVar("T")


def open_file(file: Path, migrations: tuple[str, ...]) -> sqlite3.Connection:
    """Open or make `file`, for its owner only, with its tables up to date; each of `migrations` is a script
    that is run once. Raises UserError when it cannot be used, or was written by a newer runner."""
    try:
        os.close(
            os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        )  # what lies beside it is as it is
        connection = sqlite3.connect(
            file, isolation_level=None, check_same_thread=False, timeout=30.0, cached_statements=256
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, migrations, str(file))
    except OSError as error:
        raise UserError(f"The file {file} cannot be opened: {error.strerror}.") from None
    except sqlite3.Error as error:
        raise UserError(f"The file {file} cannot be used: {error}.") from None
    return connection


def open_reading(file: Path) -> sqlite3.Connection:
    """A second connection to a file that is open, which only reads."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=30.0)
    connection.execute("PRAGMA query_only = ON")
    return connection


def ask(connection: sqlite3.Connection, query: Callable[[sqlite3.Connection], T]) -> T:
    """What `query` finds. Raises Unavailable (kind "queue") where the file cannot be read."""
    try:
        return query(connection)
    except sqlite3.Error as error:
        raise Unavailable(f"the queue cannot be read: {error}", "queue") from None
