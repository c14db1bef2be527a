"""The telemetry store: what is written is found again, merged, and bounded."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from snapfork.runner.telemetry.history import History, Wanted
from snapfork.runner.telemetry.store import Store

NOW = 1_700_000_000.0


def fill(store: Store, count: int, start: float = NOW, function: str = "shop") -> None:
    for number in range(count):
        store.line(start + number, function, "1", "7", f"r{number}", "stdout", f"line {number}")
    store.flush()


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite3"
    Store(str(path)).close()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_nothing_recorded_yet_is_empty(tmp_path: Path) -> None:
    history = History(str(tmp_path / "missing.sqlite3"))
    assert history.lines(Wanted()) == [] and history.records(Wanted()) == [] and history.tail("r") == b""


def test_lines_by_each_criterion(tmp_path: Path) -> None:
    path = str(tmp_path / "t.sqlite3")
    store = Store(path)
    fill(store, 10)
    store.line(NOW + 3, "blog", "LATEST", "9", "b1", "stderr", "100 % of 'it'")
    store.flush()
    history = History(path)

    def texts(**criteria: object) -> list[str]:
        return [line.text for line in history.lines(Wanted(**criteria))]  # type: ignore[arg-type]

    assert texts(function="blog", version="LATEST") == ["100 % of 'it'"]
    assert texts(text="% of '") == ["100 % of 'it'"]
    assert texts(request_id="r4") == ["line 4"]
    assert texts(since=NOW + 7, function="shop") == ["line 7", "line 8", "line 9"]
    assert texts(until=NOW + 2) == ["line 0", "line 1"]
    assert texts(limit=2, function="shop") == ["line 8", "line 9"], "the newest, in their order"
    assert texts(limit=2, newest=False) == ["line 0", "line 1"]
    last = history.lines(Wanted(function="shop"))[-2].number
    assert texts(after=last) == ["line 9", "100 % of 'it'"]


def test_a_tail_is_the_last_bytes_of_one_request(tmp_path: Path) -> None:
    path = str(tmp_path / "t.sqlite3")
    store = Store(path)
    for number in range(300):
        store.line(NOW, "shop", "1", "7", "mine", "stdout", f"{number:03} {'ü' * 20}")
        store.line(NOW, "shop", "1", "7", "-", "stdout", "nobody's")
    store.flush()
    tail = History(path).tail("mine")
    assert len(tail) == 4096 and tail.endswith(f"299 {'ü' * 20}\n".encode()) and b"nobody" not in tail
    assert History(path).tail("-") == b""


def test_what_is_said_later_of_an_invocation_is_laid_over(tmp_path: Path) -> None:
    path = str(tmp_path / "t.sqlite3")
    store = Store(path)
    store.record({"id": "a", "stages": {"schedule": 1.5}, "trigger": "async", "begun": NOW})
    store.record({"id": "a", "function": "shop", "status": 200, "stages": {"run": 7.25}, "billed": 8})
    store.record({"id": "a", "attempt": 2, "function": "shop", "error": "timeout", "begun": NOW + 60})
    store.flush()
    first, second = History(path).records(Wanted(request_id="a"))
    assert (first.function, first.trigger, first.status, first.billed) == ("shop", "async", 200, 8)
    assert first.stages == {"schedule": 1.5, "run": 7.25}
    assert (second.attempt, second.error, second.stages) == (2, "timeout", {})


def test_who_ran_it_has_the_last_word_on_how_it_went(tmp_path: Path) -> None:
    path = str(tmp_path / "t.sqlite3")
    store = Store(path)
    store.record({"id": "a", "error": "init_failed", "trigger": "s3"})
    store.flush()
    store.record({"id": "a", "status": 200, "error": "", "stages": {"run": 3}}, ran=True)
    store.record({"id": "a", "stages": {"schedule": 1}})
    store.flush()
    (one,) = History(path).records(Wanted())
    assert (one.error, one.status, one.trigger, one.stages) == ("", 200, "s3", {"run": 3, "schedule": 1})


@settings(max_examples=30)
@given(
    notes=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "status": st.integers(1, 599),
                "error": st.sampled_from(["timeout", "unhandled"]),
                "stages": st.dictionaries(st.sampled_from(["run", "start"]), st.floats(0, 1e6)),
            },
        ),
        max_size=6,
    )
)
def test_the_last_word_counts_whatever_the_order_of_flushes(
    tmp_path_factory: object, notes: list[dict[str, object]]
) -> None:
    path = str(tmp_path_factory.mktemp("t") / "t.sqlite3")  # type: ignore[attr-defined]
    store = Store(path)
    expected: dict[str, object] = {"status": 0, "error": "", "stages": {}}
    for number, note in enumerate(notes):
        store.record({"id": "x", **note})
        stages = {**expected["stages"], **note.get("stages", {})}  # type: ignore[dict-item]
        expected = {**expected, **note, "stages": {k: round(v, 3) for k, v in stages.items()}}
        if number % 2:
            store.flush()
    store.flush()
    found = History(path).records(Wanted(request_id="x"))
    assert len(found) == bool(notes)
    if notes:
        one = found[0]
        assert {"status": one.status, "error": one.error, "stages": one.stages} == expected


def test_age_and_size_are_bounded(tmp_path: Path) -> None:
    path = str(tmp_path / "t.sqlite3")
    store = Store(path, max_bytes=1 << 20, max_age=1000.0)
    fill(store, 50, NOW - 2000)
    fill(store, 50, NOW)
    store.record({"id": "old", "begun": NOW - 1500})
    store.record({"id": "new", "begun": NOW})
    store.flush()
    store.sweep(NOW)
    history = History(path)
    assert len(history.lines(Wanted())) == 50
    assert [one.id for one in history.records(Wanted())] == ["new"]
    for number in range(3000):
        store.line(NOW + number / 100, "shop", "1", "7", "-", "stdout", "x" * 500)
    for _ in range(20):
        store.flush()
        store.sweep(NOW)
    kept = history.lines(Wanted(limit=5000))
    assert 0 < len(kept) < 2500 and kept[-1].time == NOW + 29.99, "the newest stay"
    store.close()
    assert os.path.getsize(path) < 2 << 20


def test_a_full_disk_costs_what_comes_meanwhile(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "t.sqlite3"))
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite says of it what it says of a full disk
    for number in range(600):
        store.line(1.0, "f", "1", "1", f"id-{number}", "stdout", "x" * 1000)
    store.record({"id": "id", "function": "f"})
    store.flush()
    store.sweep(1.0)
    assert store.lost == 601
    store._db.execute("PRAGMA max_page_count = 1000000")
    store.line(2.0, "f", "1", "1", "id", "stdout", "there is room again")
    store.flush()
    assert store._db.execute("SELECT text FROM lines").fetchall() == [("there is room again",)]
    store.close()
