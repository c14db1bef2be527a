"""The registry's file: schema, modes, one writer for many callers; keys beside it."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from registering import CONFIGURATION
from snapfork.runner.errors import UserError
from snapfork.runner.registry import rows
from snapfork.runner.registry.errors import Conflict, NotFound
from snapfork.runner.registry.keys import Keys
from snapfork.runner.registry.migrations import MIGRATIONS
from snapfork.runner.registry.model import (
    Alias,
    AsyncConfig,
    CustomDomain,
    Function,
    FunctionUrl,
    Hook,
    LayerVersion,
    ProvisionConfig,
    Statement,
    Trigger,
    Version,
)
from snapfork.runner.registry.store import Store, migrate

FULL = replace(
    CONFIGURATION, layers=("a:1",), initializer=Hook("x", 1.0), env={"A": "ä"}, extra={"x": [1, None]}
)
THINGS: list[Any] = [
    rows.Package("h", 3, "zip", 9, "requirements.txt", 1.5),
    rows.Counter("function/f", 4),
    Function("f", "fc", 1.0, {"a": "b"}, 0, "why"),
    Version("f", "LATEST", FULL, "h", 3, "r", 1.0, 2.0, serving="h", reason="line\nline"),
    Version("f", "1", FULL, "h", 3, "r", 1.0, 2.0, state="pending", serving=""),
    rows.Fallback("f", FULL),
    Alias("f", "live", "1", {"2": 0.25}, "d", "r", 1.0, 2.0),
    AsyncConfig("f", "", 2, (60.0, 120.0), None, "a", "b", "c", True, 1.0, 2.0),
    ProvisionConfig("f", "live", 1, ({"name": "a"},), ({"name": "b"},), {"x": 1}, 1.0),
    FunctionUrl("f", "live", "id", "NONE", {"a": ["b"]}),
    Trigger("f", "t", "timer", "", {"cronExpression": "@every 1m"}, True, "", "tid"),
    CustomDomain("a.b", "HTTP", ({"path": "/*"},), {"x": 1}),
    LayerVersion("l", 1, "h", 3, "d", ("python3",)),
    rows.GoneLayer("l", 2, "h"),
    Statement("function/f", "", "s", {"Effect": "Allow"}),
    rows.Lock("h", "3.11", "key"),
]


def written(store: Store, puts: list[Any], deletes: list[Any] | None = None) -> None:
    store.submit(lambda db: rows.write(db, puts, deletes or [])).result()


def test_every_kind_comes_back_as_it_was_written(tmp_path: Path) -> None:
    assert {type(one) for one in THINGS} == set(rows.TABLES)
    store = Store(tmp_path / "data")
    written(store, list(reversed(THINGS)))
    written(store, THINGS)  # again: the same keys
    store.close()
    store = Store(tmp_path / "data")
    found = store.submit(rows.read).result()
    assert sorted(map(repr, found)) == sorted(map(repr, THINGS))
    written(store, [], THINGS)
    assert store.submit(rows.read).result() == []
    store.close()


def test_the_database_holds_what_must_hold(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    written(store, THINGS)
    for broken in ([THINGS[0]], [THINGS[4]]):  # a package and a version that something refers to
        with pytest.raises(sqlite3.IntegrityError):
            written(store, [], broken)
    with pytest.raises(sqlite3.IntegrityError):
        written(store, [Alias("f", "other", "9")])
    with pytest.raises(sqlite3.IntegrityError):
        written(store, [FunctionUrl("f", "", "id", "NONE")])  # an id is one function's
    assert sorted(map(repr, store.submit(rows.read).result())) == sorted(map(repr, THINGS))
    store.close()


def test_the_directory_is_private_and_so_are_its_files(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    written(store, THINGS)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert set(modes.values()) == {0o600} and {"registry.sqlite3", "registry.sqlite3-wal"} <= modes.keys()
    store.close()


def test_directories_that_are_open_to_others(tmp_path: Path) -> None:
    (tmp_path / "kept" / "snapshots").mkdir(parents=True)
    (tmp_path / "kept").chmod(0o755)
    Store(tmp_path / "kept").close()  # ours, from before there was a registry
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    (tmp_path / "open" / "photos").mkdir(parents=True)
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(UserError, match="others may enter it; type: chmod 700"):
        Store(tmp_path / "open")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        Store(tmp_path / "file")


def test_one_runner_has_a_data_directory(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    with pytest.raises(UserError, match=rf"another runner already \(pid {os.getpid()}\)"):
        Store(tmp_path / "data")
    store.close()
    Store(tmp_path / "data").close()


def test_a_newer_schema_is_one_sentence(tmp_path: Path) -> None:
    Store(tmp_path / "data").close()
    with sqlite3.connect(tmp_path / "data" / "registry.sqlite3") as db:
        db.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    with pytest.raises(UserError) as caught:
        Store(tmp_path / "data")
    assert "was written by a newer snapfork" in caught.value.sentence and "\n" not in caught.value.sentence
    (tmp_path / "data" / "registry.sqlite3").write_bytes(b"nonsense" * 1000)
    with pytest.raises(UserError, match="cannot be used: "):
        Store(tmp_path / "data")


def test_migrations_are_made_in_order_each_whole_or_not_at_all(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "m", isolation_level=None)
    first, second = (
        "CREATE TABLE a (x); INSERT INTO a VALUES (1)",
        "CREATE TABLE b (y); INSERT INTO b SELECT x FROM a",
    )
    migrate(db, (first,), "m")
    migrate(db, (first, second), "m")
    assert db.execute("SELECT y FROM b").fetchall() == [(1,)]
    with pytest.raises(sqlite3.Error):
        migrate(db, (first, second, "CREATE TABLE c (z); CREATE TABLE c (z)"), "m")
    db.close()
    db = sqlite3.connect(tmp_path / "m", isolation_level=None)
    assert db.execute("PRAGMA user_version").fetchone() == (2,)
    assert db.execute("SELECT name FROM sqlite_master WHERE name = 'c'").fetchall() == []


def test_writes_that_wait_share_a_commit_and_one_that_fails_is_undone_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    commits: list[str] = []
    store.submit(
        lambda db: db.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    ).result()
    gate = threading.Event()
    first = store.submit(lambda _: gate.wait(30))

    def insert(number: int) -> Any:
        def change(db: sqlite3.Connection) -> int:
            rows.write(db, [rows.Counter(f"c{number}", number)], [])
            if number % 10 == 3:
                raise ValueError(number)
            return number

        return store.submit(change)

    futures = [insert(number) for number in range(100)]
    gate.set()
    first.result(30)
    failed = [number for number, future in enumerate(futures) if future.exception(30)]
    assert failed == list(range(3, 100, 10))
    assert len(commits) <= 4
    assert len(store.submit(rows.read).result()) == 90
    store.close()


def test_keys(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "data")
    (first,) = keys.list()
    assert (first.role, first.functions) == ("manage", None) and keys.get(first.id) == first
    assert first.secret not in repr(first)
    path = tmp_path / "data" / "keys"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    limited = keys.create("invoke", ["shop"], "for the till")
    again = Keys(tmp_path / "data")
    assert again.list() == [first, limited] and again.get("none") is None
    assert json.loads(path.read_text())["keys"][1] == json.loads(json.dumps(asdict(limited)))
    with pytest.raises(Conflict):
        again.delete(first.id)
    with pytest.raises(NotFound):
        again.delete("none")
    again.delete(limited.id)
    keys.reload()
    assert keys.list() == [first]
    assert len({keys.create("manage").secret for _ in range(5)}) == 5
    path.chmod(0o644)
    with pytest.raises(UserError, match="can be read by others"):
        Keys(tmp_path / "data")
    path.chmod(0o600)
    path.write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        Keys(tmp_path / "data")


def test_a_write_that_is_awaited(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    assert asyncio.run(store.write(lambda db: db.execute("SELECT 1").fetchone())) == (1,)
    pragmas = ("journal_mode", "synchronous", "foreign_keys")
    found = store.submit(lambda db: [db.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]).result()
    assert found == ["wal", 2, 1]
    store.close()
