"""How long the queue keeps what has ended, and deleting the rest, a little at a time."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

CHUNK = 1000
"""Rows deleted in one transaction: it shares its commit with callers who wait."""
DAY = 86400.0


@dataclass(frozen=True)
class Retention:
    """Seconds and numbers of rows that are kept after their end.

    ended: of invocations that nobody asked to keep: as long, a repeated invocation id is recognised.
    tasks: of kept tasks. dead: of dead letters.
    """

    ended_s: float = DAY
    ended_rows: int = 200_000
    tasks_s: float = 7 * DAY
    tasks_rows: int = 100_000
    dead_s: float = 14 * DAY
    dead_rows: int = 100_000


def sweep(connection: sqlite3.Connection, kept: Retention, now: float) -> int:
    """Delete a chunk of what is too old or too much; how many rows. 0: there is no more to do."""
    deleted = 0
    for where, seconds, rows in (
        ("NOT kept AND NOT dead", kept.ended_s, kept.ended_rows),
        ("kept AND NOT dead", kept.tasks_s, kept.tasks_rows),
        ("dead", kept.dead_s, kept.dead_rows),
    ):
        too_old = (
            "SELECT id FROM invocations WHERE ended IS NOT NULL AND ended < ? "
            f"AND {where} ORDER BY ended LIMIT ?"
        )
        deleted += _delete(connection, too_old, (now - seconds, CHUNK))
        count = f"SELECT count(*) FROM invocations WHERE ended IS NOT NULL AND {where}"
        surplus = int(connection.execute(count).fetchone()[0]) - rows
        if surplus > 0:
            oldest = f"SELECT id FROM invocations WHERE ended IS NOT NULL AND {where} ORDER BY ended LIMIT ?"
            deleted += _delete(connection, oldest, (min(surplus, CHUNK),))
    return deleted


def _delete(connection: sqlite3.Connection, which: str, values: tuple[float, ...]) -> int:
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS leaving (id INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM leaving")
    count = connection.execute(f"INSERT INTO leaving {which}", values).rowcount
    if count:
        for table in ("payloads", "results", "events", "invocations"):
            connection.execute(f"DELETE FROM {table} WHERE id IN leaving")
    return count
