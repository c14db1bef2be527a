"""Changes of the queue's rows that nobody holds: functions for its writing thread, in its transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from snapfork.runner.invocations.item import Delivery
from snapfork.runner.invocations.model import Task
from snapfork.runner.invocations.store import TASK_COLUMNS, event, task_of


def stop_waiting(request_id: str, now: float, connection: sqlite3.Connection) -> bool:
    """Stop a row that nobody holds; False when somebody does or it has ended."""
    query = "SELECT id, kept FROM invocations WHERE request_id = ? AND due IS NOT NULL AND NOT held"
    row = connection.execute(query, (request_id,)).fetchone()
    if row is None:
        return False
    connection.execute(
        "UPDATE invocations SET state = 'Stopped', due = NULL, ended = ?, error = ? WHERE id = ?",
        (now, "stopped before it ran", row[0]),
    )
    if row[1]:
        append_event(connection, row[0], "Stopped", now)
    return True


def redrive(connection: sqlite3.Connection, ids: Sequence[str], now: float) -> list[Task]:
    """Dead letters become as if they had just been enqueued."""
    listed = json.dumps(list(ids))
    rows = connection.execute(
        f"SELECT {TASK_COLUMNS}, kept FROM invocations AS i WHERE dead AND request_id IN "
        "(SELECT value FROM json_each(?))",
        (listed,),
    ).fetchall()
    found = json.dumps([row[0] for row in rows])
    connection.execute(
        "UPDATE invocations SET state = 'Enqueued', due = ?, held = 0, enqueued = ?, started = NULL, "
        "ended = NULL, attempts = 0, errors = 0, system_errors = 0, dead = 0, error = '', instance = '', "
        "destination = '', meta = CASE meta WHEN '' THEN '' ELSE json_remove(meta, '$.chain') END "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (now, now, found),
    )
    for row in rows:
        if row[-1]:
            append_event(connection, row[0], "Enqueued", now, "redriven")
    return [
        replace(task_of(row), state="Enqueued", enqueued=now, started=0.0, ended=0.0, attempts=0, error="")
        for row in rows
    ]


def append_event(connection: sqlite3.Connection, item: int, state: str, at: float, detail: str = "") -> None:
    """One more event of a row that nobody holds."""
    query = "SELECT coalesce(max(number), -1) + 1 FROM events WHERE id = ?"
    (number,) = connection.execute(query, (item,)).fetchone()
    said = json.dumps(event(number, state, at, detail), separators=(",", ":"))
    connection.execute("INSERT INTO events (id, number, event) VALUES (?, ?, ?)", (item, number, said))


def end_deliveries(group: Sequence[Delivery], status: str, connection: sqlite3.Connection) -> None:
    """Deliveries are over; `status` is noted at their invocations."""
    numbers = json.dumps([one.number for one in group])
    listed = "(SELECT value FROM json_each(?))"
    connection.execute(
        "UPDATE invocations SET destination = ? "
        f"WHERE id IN (SELECT id FROM deliveries WHERE number IN {listed})",
        (status, numbers),
    )
    connection.execute(f"DELETE FROM deliveries WHERE number IN {listed}", (numbers,))


def postpone_delivery(delivery: Delivery, due: float, connection: sqlite3.Connection) -> None:
    """A delivery is tried once more at `due`."""
    connection.execute(
        "UPDATE deliveries SET due = ?, attempts = attempts + 1 WHERE number = ?", (due, delivery.number)
    )
