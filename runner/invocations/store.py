"""The queue's SQLite file: its tables, and operations on many rows by few statements.

Times are seconds since the epoch. `due` is when a row may be taken, None when it has ended; `held` says that
somebody has taken it, until `due`.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from snapfork.runner.invocations.item import Change, Delivery, Item
from snapfork.runner.invocations.model import Task
from snapfork.runner.registry.errors import AlreadyExists, Conflict, LimitExceeded, OperationError

FILE = "queue.sqlite3"
MIGRATIONS = (
    """
    CREATE TABLE invocations (
        id INTEGER PRIMARY KEY,
        request_id TEXT NOT NULL,
        task_id TEXT,
        function TEXT NOT NULL,
        qualifier TEXT NOT NULL,
        state TEXT NOT NULL,
        due REAL,
        held INTEGER NOT NULL,
        enqueued REAL NOT NULL,
        started REAL,
        ended REAL,
        attempts INTEGER NOT NULL DEFAULT 0,
        errors INTEGER NOT NULL DEFAULT 0,
        system_errors INTEGER NOT NULL DEFAULT 0,
        kept INTEGER NOT NULL,
        dead INTEGER NOT NULL DEFAULT 0,
        meta TEXT NOT NULL,
        payload BLOB,
        error TEXT NOT NULL DEFAULT '',
        instance TEXT NOT NULL DEFAULT '',
        destination TEXT NOT NULL DEFAULT ''
    );
    CREATE UNIQUE INDEX by_request ON invocations (request_id);
    CREATE UNIQUE INDEX by_task ON invocations (function, task_id) WHERE task_id IS NOT NULL;
    CREATE INDEX by_due ON invocations (function, due) WHERE due IS NOT NULL;
    CREATE INDEX by_end ON invocations (ended) WHERE ended IS NOT NULL;
    CREATE INDEX kept_tasks ON invocations (function, id) WHERE kept;
    CREATE INDEX dead_letters ON invocations (id) WHERE dead;
    CREATE TABLE payloads (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE results (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE events (
        id INTEGER NOT NULL,
        number INTEGER NOT NULL,
        event TEXT NOT NULL,
        PRIMARY KEY (id, number)
    ) WITHOUT ROWID;
    CREATE TABLE deliveries (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id INTEGER NOT NULL,
        target TEXT NOT NULL,
        kind TEXT NOT NULL,
        function TEXT NOT NULL,
        request_id TEXT NOT NULL,
        body BLOB NOT NULL,
        dialect TEXT NOT NULL,
        attributes TEXT NOT NULL,
        due REAL NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL
    );
    CREATE INDEX deliveries_due ON deliveries (due);
    """,
    """
    ALTER TABLE deliveries ADD COLUMN chain TEXT NOT NULL DEFAULT '';
    """,
)
_INSERT = (
    "INSERT OR IGNORE INTO invocations (state, id, request_id, task_id, function, qualifier, due, held, "
    "enqueued, kept, meta, payload) VALUES"
)
_NEW = f"('Enqueued'{',?' * 11})"
_NULL = math.nan
"""SQLite makes NULL of it. For all but int, float, str and bytearray (for None, bool and bytes, too) sqlite3
looks for an adapter, which takes ten times as long as binding the value."""
CHUNK, MOST_ROWS = 32, 256
"""A statement has some number of rows up to the first, or a multiple of it up to the second: few texts, so
that SQLite's compiled statements are found again, and few statements for whatever number of rows."""
TASK_COLUMNS = (
    "i.id, request_id, task_id, function, qualifier, state, enqueued, started, ended, attempts, error, "
    "instance, destination"
)


@dataclass(frozen=True)
class Call:
    """Anything else that is done in the transaction: `run(connection)`; an OperationError refuses it."""

    run: Callable[[sqlite3.Connection], Any]


class Writer:
    """Applies operations for `commits.GroupCommit`: an Item is a new row, a Change one that is there, a Call
    anything else. max_bytes: size at which the file takes no more."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._full = False
        self._looked = 0

    def apply(self, connection: sqlite3.Connection, operations: Sequence[Any]) -> list[Any]:
        """Changes first (the last of each row), then new rows, then calls in their order; one transaction."""
        new = [one for one in operations if type(one) is Item]
        changes = [one for one in operations if type(one) is Change]
        calls = len(operations) - len(new) - len(changes)
        last = list({one.item: one for one in changes}.values())
        alone = not calls and _is_one_statement(new, changes, last)
        if not alone:
            connection.execute("BEGIN IMMEDIATE")
        if changes:
            _change(connection, last, changes)
        results = self._insert(connection, new) if new else []
        if len(new) < len(operations):
            answers = iter(results)
            results = [_result(connection, one, answers) for one in operations]
        if not alone:
            connection.execute("COMMIT")
        return results

    def _insert(self, connection: sqlite3.Connection, new: list[Item]) -> list[Any]:
        if self._is_full(connection):
            return [LimitExceeded("The queue's file has reached its size limit.", "queue")] * len(new)
        results: list[Any] = [None] * len(new)
        fresh = new
        if _many(connection, _INSERT, _NEW, [_row(item) for item in new]) < len(new):
            ids = json.dumps([item.id for item in new])
            query = "SELECT id FROM invocations WHERE id IN (SELECT value FROM json_each(?))"
            there = {row[0] for row in connection.execute(query, (ids,)).fetchall()}
            fresh = [item for item in new if item.id in there]
            results = [None if item.id in there else _existing(connection, item) for item in new]
        big = [(item.id, item.payload) for item in fresh if item.beside]
        if big:
            connection.executemany("INSERT INTO payloads (id, body) VALUES (?, ?)", big)
        _add_events(
            connection, [(item.id, 0, _event(0, "Enqueued", item.enqueued)) for item in fresh if item.kept]
        )
        return results

    def _is_full(self, connection: sqlite3.Connection) -> bool:
        if self._looked % 64 == 0:
            self._full = used_bytes(connection) > self.max_bytes
        self._looked += 1
        return self._full


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the file that are in use."""
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _is_one_statement(new: list[Item], changes: list[Change], last: list[Change]) -> bool:
    """True when one statement writes it all. It is a transaction by itself, and the writer waits for the GIL
    once instead of three times."""
    if new and changes or not _fits_a_statement(len(new) or len(last)):
        return False
    return not (
        any(item.kept or item.beside for item in new)
        or any(one.beside or one.result is not None or one.events or one.deliveries for one in changes)
    )


def _result(connection: sqlite3.Connection, operation: Any, of_new: Iterator[Any]) -> Any:
    if type(operation) is Item:
        return next(of_new)
    if type(operation) is Change:
        return None
    try:
        return operation.run(connection)
    except OperationError as refused:
        return refused


def _row(item: Item) -> tuple[Any, ...]:
    payload = item.payload
    return (
        item.id,
        item.request_id,
        _NULL if item.task_id is None else item.task_id,
        item.function,
        item.qualifier,
        item.due,
        int(item.held),
        item.enqueued,
        int(item.kept),
        item.meta,
        _NULL if payload is None or item.beside else bytearray(payload),
    )


def _marks(columns: int) -> str:
    return f"({','.join('?' * columns)})"


def _fits_a_statement(rows: int) -> bool:
    """True for a number of rows that need no second statement."""
    return rows < CHUNK or (rows <= MOST_ROWS and rows % CHUNK == 0)


def _many(
    connection: sqlite3.Connection, statement: str, row: str, rows: Sequence[tuple[Any, ...]], end: str = ""
) -> int:
    """Run `statement` with all `rows` as its VALUES, each written as `row`; the number that it changed."""
    changed = at = 0
    while (left := len(rows) - at) > 0:
        size = left if left < CHUNK else min(MOST_ROWS, left // CHUNK * CHUNK)
        values = list(chain.from_iterable(rows[at : at + size]))
        changed += connection.execute(f"{statement} {','.join([row] * size)}{end}", values).rowcount
        at += size
    return changed


def _existing(connection: sqlite3.Connection, item: Item) -> Task | OperationError:
    """What stands in the way of a new row: the same invocation's Task, or the refusal."""
    found = find_task(connection, item.function, item.request_id)
    if found is not None and found.request_id == item.request_id:
        if item.task_id is not None and found.task_id != item.task_id:
            said = f"The invocation {item.request_id} is another task already."
            return Conflict(said, "task", item.task_id)
        return found
    query = "SELECT 1 FROM invocations WHERE request_id = ?"
    if connection.execute(query, (item.request_id,)).fetchone():
        said = f"The invocation id {item.request_id} is another function's."
        return Conflict(said, "task", item.request_id)
    return AlreadyExists(f"The task {item.task_id} exists already.", "task", item.task_id or "")


_CHANGE = (
    "UPDATE invocations SET state = c.column2, due = c.column3, held = c.column4, started = c.column5, "
    "ended = c.column6, attempts = c.column7, errors = c.column8, system_errors = c.column9, "
    "dead = c.column10, error = c.column11, instance = c.column12, "
    "payload = CASE WHEN c.column13 THEN NULL ELSE payload END, "
    "destination = CASE WHEN c.column14 = '' THEN destination ELSE c.column14 END FROM (VALUES"
)


def _change(connection: sqlite3.Connection, last: list[Change], every: list[Change]) -> None:
    rows = [
        (
            one.item,
            one.state,
            _NULL if one.due is None else one.due,
            int(one.held),
            _NULL if one.started is None else one.started,
            _NULL if one.ended is None else one.ended,
            one.attempts,
            one.errors,
            one.system_errors,
            int(one.dead),
            one.error,
            one.instance,
            int(one.drop),
            one.destination,
        )
        for one in last
    ]
    _many(connection, _CHANGE, _marks(14), rows, ") AS c WHERE invocations.id = c.column1")
    dropped = [one.item for one in last if one.drop and one.beside]
    if dropped:
        delete = "DELETE FROM payloads WHERE id IN (SELECT value FROM json_each(?))"
        connection.execute(delete, (json.dumps(dropped),))
    results = [(one.item, one.result) for one in last if one.result is not None]
    if results:
        connection.executemany("INSERT OR REPLACE INTO results (id, body) VALUES (?, ?)", results)
    events = [
        (one.item, event["eventId"], json.dumps(event, separators=(",", ":")))
        for one in every
        for event in one.events
    ]
    _add_events(connection, events)
    for one in every:
        if one.deliveries:
            add_deliveries(connection, one.item, one.deliveries)


def _add_events(connection: sqlite3.Connection, rows: list[tuple[int, int, str]]) -> None:
    if rows:
        _many(connection, "INSERT OR REPLACE INTO events (id, number, event) VALUES", _marks(3), rows)


def event(number: int, state: str, at: float, detail: str = "") -> dict[str, Any]:
    """An event of a task, as FC's AsyncTask has it."""
    return {"eventId": number, "status": state, "timestamp": int(at * 1000), "eventDetail": detail}


def _event(number: int, state: str, at: float) -> str:
    return json.dumps(event(number, state, at), separators=(",", ":"))


def add_deliveries(connection: sqlite3.Connection, item: int, deliveries: Iterable[Delivery]) -> None:
    """What destinations are to get."""
    connection.executemany(
        "INSERT INTO deliveries (id, target, kind, function, request_id, body, dialect, attributes, due, "
        "created, chain) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (item, one.target, one.kind, one.function, one.request_id, one.body, one.dialect,
             json.dumps(one.attributes), one.created, one.created, one.chain)
            for one in deliveries
        ],
    )  # fmt: skip


def free_held(connection: sqlite3.Connection, now: float) -> int:
    """What an ended process had taken is due again; the highest id so far."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "UPDATE invocations SET held = 0, due = ?, "
        "state = CASE WHEN state IN ('Dequeued', 'Running') THEN 'Enqueued' ELSE state END "
        "WHERE due IS NOT NULL AND held",
        (now,),
    )
    connection.execute("COMMIT")
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM invocations").fetchone()[0])


def take(connection: sqlite3.Connection, function: str, now: float, until: float, limit: int) -> list[Item]:
    """Lease up to `limit` rows of a function that are due, those due longest first, until `until`.

    They come as one row of JSON: one step of SQLite, not one per row.
    """
    (text,) = connection.execute(
        "SELECT json_group_array(json_array(id, request_id, task_id, function, qualifier, enqueued, kept, "
        "meta, hex(payload), payload IS NULL, attempts, errors, system_errors, started, state, "
        "(SELECT count(*) FROM events WHERE events.id = due_rows.id))) FROM (SELECT * FROM invocations "
        "WHERE function = ? AND due IS NOT NULL AND due <= ? ORDER BY due, id LIMIT ?) AS due_rows",
        (function, now, limit),
    ).fetchone()
    items = [
        Item(
            row[0], row[1], row[2], row[3], row[4], row[5], bool(row[6]), row[7],
            None if row[9] else bytes.fromhex(row[8]), due=until,
            attempts=row[10], errors=row[11], system_errors=row[12], started=row[13], state=row[14],
            events=row[15],
        )
        for row in json.loads(text)
    ]  # fmt: skip
    if items:
        hold(connection, [item.id for item in items], until)
    return items


def hold(connection: sqlite3.Connection, ids: Sequence[int], until: float) -> None:
    """Lease rows, or prolong their leases."""
    connection.execute(
        "UPDATE invocations SET held = 1, due = ? WHERE due IS NOT NULL AND "
        "id IN (SELECT value FROM json_each(?))",
        (until, json.dumps(list(ids))),
    )


def find_task(connection: sqlite3.Connection, function: str, task_id: str) -> Task | None:
    """A task by its own id, else by its request id; without payload, result and events."""
    for where in ("function = ? AND task_id = ?", "function = ? AND request_id = ?"):
        query = f"SELECT {TASK_COLUMNS} FROM invocations AS i WHERE {where}"
        row = connection.execute(query, (function, task_id)).fetchone()
        if row is not None:
            return task_of(row)
    return None


def task_of(row: Sequence[Any]) -> Task:
    """A Task from TASK_COLUMNS."""
    (_, request_id, task_id, function, qualifier, state, enqueued, started, ended, attempts, *rest) = row
    return Task(
        task_id=task_id or request_id,
        request_id=request_id,
        function=function,
        qualifier=qualifier,
        state=state,
        enqueued=enqueued,
        started=started or 0.0,
        ended=ended or 0.0,
        attempts=attempts,
        error=rest[0],
        instance=rest[1],
        destination_status=rest[2],
    )
