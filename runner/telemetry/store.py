"""Where log lines and records of invocations are kept: one SQLite file, written by the log process alone.

Rows are gathered and written together, several times a second and whenever somebody asks. What a power
failure takes is at most the last moments: nothing here is a promise, the queue and the registry hold those.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from typing import Any

FILE = "telemetry.sqlite3"
MAX_BYTES = 1 << 30
MAX_AGE_S = 14 * 86400.0
BATCH_ROWS = 500
SWEEP_SHARE = 0.1
"""How much of the rows goes when the file has reached its size: not every insert should delete."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS lines (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    function TEXT NOT NULL,
    version TEXT NOT NULL,
    instance TEXT NOT NULL,
    request_id TEXT NOT NULL,
    stream TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS lines_request ON lines (request_id) WHERE request_id <> '-';
CREATE INDEX IF NOT EXISTS lines_function ON lines (function, id);
CREATE TABLE IF NOT EXISTS records (
    id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    function TEXT NOT NULL DEFAULT '',
    version TEXT NOT NULL DEFAULT '',
    qualifier TEXT NOT NULL DEFAULT '',
    instance TEXT NOT NULL DEFAULT '',
    trigger TEXT NOT NULL DEFAULT '',
    start TEXT NOT NULL DEFAULT '',
    begun REAL NOT NULL DEFAULT 0,
    billed INTEGER NOT NULL DEFAULT 0,
    memory REAL NOT NULL DEFAULT 0,
    status INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    stages TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (id, attempt)
);
CREATE INDEX IF NOT EXISTS records_begun ON records (begun);
CREATE INDEX IF NOT EXISTS records_function ON records (function, begun);
"""
COLUMNS: dict[str, str | int | float] = {
    "function": "",
    "version": "",
    "qualifier": "",
    "instance": "",
    "trigger": "",
    "start": "",
    "begun": 0.0,
    "billed": 0,
    "memory": 0.0,
    "status": 0,
    "error": "",
}
"""What a record has beside its id, attempt and stages, with the value that says nothing."""
_NAMES = ", ".join(COLUMNS)
_MARKS = ", ".join("?" * len(COLUMNS))
_MERGE = ", ".join(
    f"{name} = CASE WHEN excluded.{name} = {0 if isinstance(empty, (int, float)) else repr(empty)} "
    f"THEN records.{name} ELSE excluded.{name} END"
    for name, empty in COLUMNS.items()
)
_RECORD = (
    f"INSERT INTO records (id, attempt, stages, {_NAMES}) VALUES (?, ?, ?, {_MARKS}) "
    f"ON CONFLICT (id, attempt) DO UPDATE SET stages = json_patch(records.stages, excluded.stages), {_MERGE}"
)
_OUTCOME = "UPDATE records SET error = ?, status = ? WHERE id = ? AND attempt = ?"
_LINE = (
    "INSERT INTO lines (time, function, version, instance, request_id, stream, text) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
# Lines arrive in the order of time, so that only the first are looked at.
_OLD_LINES = "DELETE FROM lines WHERE id IN (SELECT id FROM lines ORDER BY id LIMIT 10000) AND time < ?"


class Store:
    """The one writer. `max_bytes` of file and `max_age` seconds bound what is kept.

    lost: rows that a full disk did not take; whoever says so sets it to 0.
    """

    def __init__(self, path: str, max_bytes: int = MAX_BYTES, max_age: float = MAX_AGE_S) -> None:
        self.max_bytes = max_bytes
        self.max_age = max_age
        self._lines: list[tuple[Any, ...]] = []
        self._records: list[tuple[Any, ...]] = []
        self._outcomes: list[tuple[Any, ...]] = []
        self.lost = 0
        self._db = _open(path)

    def line(
        self, time: float, function: str, version: str, instance: str, request_id: str, stream: str, text: str
    ) -> None:
        """Take what was printed at once; several lines may be in `text`."""
        self._lines.append((time, function, version, instance, request_id, stream, text))
        if len(self._lines) >= BATCH_ROWS:
            self.flush()

    def record(self, fields: Mapping[str, Any], *, ran: bool = False) -> None:
        """Take a record, or more about one: what `fields` has besides id and attempt is laid over it.

        ran: it is the word of the instance that ran it, success included: an invocation that is run anew (a
        dead letter that is driven again) does not keep the error of its first time.
        """
        values = [_fitting(fields.get(name), empty) for name, empty in COLUMNS.items()]
        stages = json.dumps({name: round(float(ms), 3) for name, ms in fields.get("stages", {}).items()})
        identity, attempt = str(fields["id"]), int(fields.get("attempt") or 1)
        self._records.append((identity, attempt, stages, *values))
        if ran:
            outcome = (str(fields.get("error") or ""), int(fields.get("status") or 0))
            self._outcomes.append((*outcome, identity, attempt))
        if len(self._records) >= BATCH_ROWS:
            self.flush()

    @property
    def waits(self) -> bool:
        """True while rows are gathered and not yet written."""
        return bool(self._lines or self._records)

    def flush(self) -> None:
        """Write what has been gathered; what a full disk does not take is lost."""
        if not self.waits:
            return
        lines, self._lines = self._lines, []
        records, self._records = self._records, []
        outcomes, self._outcomes = self._outcomes, []
        try:
            with self._db:
                self._db.execute("BEGIN")
                self._db.executemany(_LINE, lines)
                self._db.executemany(_RECORD, records)
                self._db.executemany(_OUTCOME, outcomes)
        except sqlite3.OperationalError as error:
            _pass_full(error)
            self.lost += len(lines) + len(records)

    def sweep(self, now: float) -> None:
        """Delete what is too old, and the oldest tenth of all when the file has reached its size. A disk that
        is full even for that will not always be."""
        try:
            self._sweep(now)
        except sqlite3.OperationalError as error:
            _pass_full(error)

    def _sweep(self, now: float) -> None:
        oldest = now - self.max_age
        with self._db:
            self._db.execute("BEGIN")
            while self._db.execute(_OLD_LINES, (oldest,)).rowcount:
                pass
            self._db.execute("DELETE FROM records WHERE begun < ?", (oldest,))
        if self._size() > self.max_bytes:
            with self._db:
                self._db.execute("BEGIN")
                for table, order in (("lines", "id"), ("records", "begun")):
                    self._db.execute(
                        f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} ORDER BY {order} "
                        f"LIMIT (SELECT 1 + CAST(count(*) * {SWEEP_SHARE} AS INTEGER) FROM {table}))"
                    )
            self._db.execute("PRAGMA incremental_vacuum")

    def _size(self) -> int:
        """Bytes of the file less what is free in it."""
        pages, free, size = (
            int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self.flush()
        self._db.close()


def _open(path: str) -> sqlite3.Connection:
    before = os.umask(0o077)
    try:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(SCHEMA)
    finally:
        os.umask(before)
    return db


def _pass_full(error: sqlite3.OperationalError) -> None:
    """Raise anything but that the disk is full."""
    if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
        raise error


def _fitting(value: Any, empty: str | int | float) -> str | int | float:
    return empty if value is None else type(empty)(value)
