"""Reading back what was recorded: lines and records by request, function, time and text."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from snapfork.runner.invocations.model import Record

TAIL_BYTES = 4096
"""What both dialects give back of an invocation's log."""
_COLUMNS = (
    "id, function, version, instance, trigger, start, begun, stages, billed, memory, status, error, "
    "attempt, qualifier"
)


@dataclass(frozen=True)
class Line:
    """What was printed at once. number: ascends with the order of arrival; time: seconds since the epoch."""

    number: int
    time: float
    function: str
    version: str
    instance: str
    request_id: str
    stream: str
    text: str


@dataclass(frozen=True)
class Wanted:
    """Which lines or records. None or "" leaves a criterion out; since, until: seconds since the epoch;
    after: only lines with a higher number; newest: the last `limit` ones instead of the first."""

    function: str = ""
    version: str = ""
    request_id: str = ""
    text: str = ""
    since: float | None = None
    until: float | None = None
    after: int | None = None
    limit: int = 1000
    newest: bool = True


class History:
    """A reader of the file at `path`; what does not exist yet is empty. For one thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

    def lines(self, wanted: Wanted) -> list[Line]:
        """Lines in the order in which they arrived."""
        where, values = _conditions(wanted, "time")
        if wanted.text:
            where.append("instr(text, ?) > 0")
            values.append(wanted.text)
        if wanted.after is not None:
            where.append("id > ?")
            values.append(wanted.after)
        order = "DESC" if wanted.newest else "ASC"
        rows = self._rows(
            "SELECT id, time, function, version, instance, request_id, stream, text FROM lines "
            f"WHERE {' AND '.join(where) or 'true'} ORDER BY id {order} LIMIT ?",
            [*values, wanted.limit],
        )
        return sorted((Line(*row) for row in rows), key=lambda line: line.number)

    def records(self, wanted: Wanted) -> list[Record]:
        """Records in the order in which they began."""
        where, values = _conditions(wanted, "begun")
        order = "DESC" if wanted.newest else "ASC"
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM records WHERE {' AND '.join(where) or 'true'} "
            f"ORDER BY begun {order}, attempt {order} LIMIT ?",
            [*values, wanted.limit],
        )
        found = [_record(row) for row in rows]
        return sorted(found, key=lambda one: (one.begun, one.attempt))

    def tail(self, request_id: str, limit: int = TAIL_BYTES) -> bytes:
        """The last `limit` bytes of what an invocation printed."""
        rows = self._rows(
            "SELECT text FROM lines WHERE request_id = ? AND request_id <> '-' ORDER BY id DESC LIMIT 200",
            [request_id],
        )
        text = "".join(f"{row[0]}\n" for row in reversed(rows))
        return text.encode("utf-8", "backslashreplace")[-limit:]

    def _rows(self, sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
        if self._db is None:
            try:
                self._db = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, isolation_level=None)
            except sqlite3.OperationalError:
                return []  # nothing has been recorded yet
        return self._db.execute(sql, values).fetchall()

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None


def _conditions(wanted: Wanted, clock: str) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    values: list[Any] = []
    identity = "request_id" if clock == "time" else "id"
    names = (("function", wanted.function), ("version", wanted.version), (identity, wanted.request_id))
    for column, value in names:
        if value:
            where.append(f"{column} = ?")
            values.append(value)
    for bound, operator in ((wanted.since, ">="), (wanted.until, "<")):
        if bound is not None:
            where.append(f"{clock} {operator} ?")
            values.append(bound)
    return where, values


def _record(row: tuple[Any, ...]) -> Record:
    identity, function, version, instance, trigger, start, begun, stages, *rest = row
    billed, memory, status, error, attempt, qualifier = rest
    return Record(
        id=identity,
        function=function,
        version=version,
        instance=instance,
        trigger=trigger,
        start=start,
        begun=begun,
        stages=json.loads(stages),
        billed=billed,
        memory=memory,
        status=status,
        error=error,
        attempt=attempt,
        qualifier=qualifier,
    )
