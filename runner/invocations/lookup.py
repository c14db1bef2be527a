"""What the queue's file holds: queries for its reading thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from snapfork.runner.invocations.item import Delivery
from snapfork.runner.invocations.model import Task
from snapfork.runner.invocations.store import TASK_COLUMNS, task_of, used_bytes
from snapfork.runner.registry.errors import Invalid, NotFound

_DELIVERY_COLUMNS = (
    "number, target, kind, function, request_id, body, dialect, attributes, attempts, created, chain"
)
_TASKS = f"SELECT {TASK_COLUMNS} FROM invocations AS i"


@dataclass(frozen=True)
class Sizes:
    """How much the queue holds. rows: by state; dead: dead letters; file: bytes in use."""

    rows: dict[str, int]
    dead: int
    file: int


@dataclass(frozen=True)
class Filter:
    """Which kept tasks: see Queue.list."""

    function: str
    qualifier: str
    prefix: str = ""
    state: str = ""
    begin: float = 0.0
    end: float = 0.0
    newest_first: bool = True
    payloads: bool = False
    start: str = ""
    limit: int = 20


def get(connection: sqlite3.Connection, function: str, task_id: str) -> Task:
    """The task with payload, result and events. Raises NotFound."""
    for where in ("task_id = ?", "request_id = ?"):
        query = f"{_TASKS} WHERE function = ? AND {where}"
        row = connection.execute(query, (function, task_id)).fetchone()
        if row is not None:
            return _full(connection, row)
    raise NotFound(f"There is no task {task_id!r} of function {function!r}.", "task", task_id)


def tasks(connection: sqlite3.Connection, wanted: Filter) -> tuple[list[Task], str]:
    """A page of kept tasks and the token of the next."""
    order, beyond = ("DESC", "<") if wanted.newest_first else ("ASC", ">")
    where = ["kept", "function = ?", "qualifier = ?"]
    values: list[Any] = [wanted.function, wanted.qualifier]
    if wanted.prefix:
        where.append("substr(coalesce(task_id, request_id), 1, ?) = ?")
        values += [len(wanted.prefix), wanted.prefix]
    if wanted.state:
        where.append("state = ?")
        values.append(wanted.state)
    if wanted.begin:
        where.append("started >= ?")
        values.append(wanted.begin)
    if wanted.end:
        where.append("started <= ?")
        values.append(wanted.end)
    if wanted.start:
        where.append(f"i.id {beyond} ?")
        values.append(_token(wanted.start))
    query = f"{_TASKS} WHERE {' AND '.join(where)} ORDER BY i.id {order} LIMIT ?"
    rows = connection.execute(query, [*values, wanted.limit + 1]).fetchall()
    page = rows[: wanted.limit]
    found = [_full(connection, row) if wanted.payloads else task_of(row) for row in page]
    return found, str(page[-1][0]) if len(rows) > wanted.limit else ""


def dead_letters(
    connection: sqlite3.Connection, function: str, start: str, limit: int
) -> tuple[list[Task], str]:
    """A page of dead letters, newest first, and the token of the next."""
    where, values = ["dead"], []
    if function:
        where.append("function = ?")
        values.append(function)
    if start:
        where.append("i.id < ?")
        values.append(str(_token(start)))
    query = f"{_TASKS} WHERE {' AND '.join(where)} ORDER BY i.id DESC LIMIT ?"
    rows = connection.execute(query, [*values, str(limit + 1)]).fetchall()
    page = rows[:limit]
    return [_full(connection, row) for row in page], str(page[-1][0]) if len(rows) > limit else ""


def payload(connection: sqlite3.Connection, item: int) -> bytes:
    """The payload of a row, wherever it lies; b"" when it was dropped."""
    row = connection.execute(
        "SELECT coalesce(i.payload, p.body, x'') FROM invocations AS i LEFT JOIN payloads AS p USING (id) "
        "WHERE i.id = ?",
        (item,),
    ).fetchone()
    return b"" if row is None else bytes(row[0])


def sizes(connection: sqlite3.Connection) -> Sizes:
    """How much there is."""
    query = "SELECT state, count(*), total(dead) FROM invocations GROUP BY state"
    rows = connection.execute(query).fetchall()
    return Sizes(
        {str(state): int(count) for state, count, _ in rows},
        int(sum(dead for _, _, dead in rows)),
        used_bytes(connection),
    )


def next_due(connection: sqlite3.Connection, function: str) -> float | None:
    """When the next row of a function is due."""
    query = "SELECT min(due) FROM invocations WHERE function = ? AND due IS NOT NULL"
    due = connection.execute(query, (function,)).fetchone()[0]
    return None if due is None else float(due)


def functions_waiting(connection: sqlite3.Connection) -> list[tuple[str, float]]:
    """Functions that have rows to run, and when the first is due."""
    query = "SELECT function, min(due) FROM invocations WHERE due IS NOT NULL GROUP BY function"
    return [(str(name), float(due)) for name, due in connection.execute(query).fetchall()]


def deliveries(
    connection: sqlite3.Connection, now: float, limit: int, busy: Sequence[int], full: Sequence[str]
) -> tuple[list[Delivery], float | None]:
    """What is to be delivered now, and when the next is due later; see Queue.deliveries."""
    query = (
        f"SELECT {_DELIVERY_COLUMNS} FROM deliveries WHERE due <= ? "
        "AND number NOT IN (SELECT value FROM json_each(?)) "
        "AND target NOT IN (SELECT value FROM json_each(?)) ORDER BY due LIMIT ?"
    )
    rows = connection.execute(query, (now, json.dumps(list(busy)), json.dumps(list(full)), limit)).fetchall()
    found = [
        Delivery(
            number=number,
            target=target,
            kind=kind,
            function=function,
            request_id=request_id,
            body=body,
            dialect=dialect,
            attributes=tuple((name, value) for name, value in json.loads(attributes)),
            attempts=attempts,
            created=created,
            chain=chain,
        )
        for (
            number,
            target,
            kind,
            function,
            request_id,
            body,
            dialect,
            attributes,
            attempts,
            created,
            chain,
        ) in rows
    ]
    later = connection.execute("SELECT min(due) FROM deliveries WHERE due > ?", (now,)).fetchone()[0]
    return found, later


def _full(connection: sqlite3.Connection, row: Sequence[Any]) -> Task:
    result = connection.execute("SELECT body FROM results WHERE id = ?", (row[0],)).fetchone()
    events = connection.execute("SELECT event FROM events WHERE id = ? ORDER BY number", (row[0],)).fetchall()
    return replace(
        task_of(row),
        payload=payload(connection, row[0]),
        result=bytes(result[0]) if result else b"",
        events=tuple(json.loads(text) for (text,) in events),
    )


def _token(start: str) -> int:
    if not (start.isascii() and start.isdigit() and len(start) < 19):
        raise Invalid("The token of the next page is not one of this list.", "start")
    return int(start)
