"""The durable queue by itself: what it keeps, gives out, and lets be looked up."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from invoking import Clock, invocation
from snapfork.runner.errors import UserError
from snapfork.runner.faces import fc_errors, lambda_errors
from snapfork.runner.invocations.item import INLINE, Delivery
from snapfork.runner.invocations.model import Invocation
from snapfork.runner.invocations.queue import Queue, Retention
from snapfork.runner.registry.errors import (
    AlreadyExists,
    Conflict,
    Invalid,
    LimitExceeded,
    NotFound,
    Unavailable,
)


def with_queue(
    directory: Path, test: Callable[[Queue, Clock], Awaitable[None]], clock: Clock | None = None, **more: Any
) -> None:
    """Run `test` with an open queue in `directory`."""
    clock = clock or Clock()

    async def run() -> None:
        queue = Queue(directory / "queue.sqlite3", clock, **more)
        await queue.start()
        try:
            await test(queue, clock)
        finally:
            await queue.close()

    asyncio.run(run())


def test_what_was_enqueued_is_there_after_the_file_was_opened_again(tmp_path: Path) -> None:
    async def put(queue: Queue, _clock: Clock) -> None:
        one = invocation(
            1, payload=b"\x00\xff", trigger="oss", dialect="fc", client_context="e30=",
            content_type="text/plain", headers=(("x-a", "b"),), qualifier="prod",
        )  # fmt: skip
        task = await queue.enqueue(one, task_id="task_1")
        assert (task.task_id, task.request_id, task.state) == ("task_1", "id-1", "Enqueued")

    async def take(queue: Queue, _clock: Clock) -> None:
        (item,), _ = await queue.take("f", 10)
        queue.begin(item)
        found = item.invocation()
        assert found == Invocation(
            "id-1", "f", "prod", b"\x00\xff", "oss", "fc", "e30=", 1, "text/plain", (("x-a", "b"),)
        )

    with_queue(tmp_path, put)
    with_queue(tmp_path, take)
    mode = stat.S_IMODE(os.stat(tmp_path / "queue.sqlite3").st_mode)
    assert mode == 0o600


def test_a_repeated_invocation_id_is_the_same_task(tmp_path: Path) -> None:
    async def test(queue: Queue, clock: Clock) -> None:
        tasks = await asyncio.gather(*(queue.enqueue(invocation(1, payload=b"%d" % n)) for n in range(5)))
        assert {task.request_id for task in tasks} == {"id-1"}
        (item,), _ = await queue.take("f", 10)
        assert item.payload == b"0"
        queue.end(item, "Succeeded")
        again = await queue.enqueue(invocation(1))
        assert again.state == "Succeeded"
        clock.now += 100
        assert await queue.take("f", 10) == ([], None)
        with pytest.raises(Conflict):
            await queue.enqueue(invocation(1, "g"))
        with pytest.raises(Conflict):
            await queue.enqueue(invocation(1), task_id="other")

    with_queue(tmp_path, test)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 300])
def test_whatever_comes_together_is_there_and_what_is_repeated_is_not(tmp_path: Path, count: int) -> None:
    async def test(queue: Queue, _clock: Clock) -> None:
        await queue.enqueue(invocation(0))
        numbers = [*range(count), 0]
        tasks = await asyncio.gather(*(queue.enqueue(invocation(number)) for number in numbers))
        assert [task.request_id for task in tasks] == [f"id-{number}" for number in numbers]
        items, after = await queue.take("f", 1000)
        assert [item.request_id for item in items] == [f"id-{number}" for number in range(count)]
        assert after is not None
        for item in items:
            queue.end(item, "Succeeded")
        assert (await queue.sizes()).rows == {"Succeeded": count}

    with_queue(tmp_path, test)


def test_what_comes_in_one_turn_of_the_loop_shares_a_commit(tmp_path: Path) -> None:
    async def test(queue: Queue, _clock: Clock) -> None:
        before = queue.commits.commits
        await asyncio.gather(*(queue.enqueue(invocation(number)) for number in range(20)))
        assert queue.commits.commits == before + 1

    with_queue(tmp_path, test)


def test_what_was_given_before_the_close_is_written(tmp_path: Path) -> None:
    async def end(queue: Queue, _clock: Clock) -> None:
        await asyncio.gather(*(queue.enqueue(invocation(number)) for number in range(3)))
        for item in (await queue.take("f", 10))[0]:
            queue.end(item, "Succeeded")

    async def look(queue: Queue, _clock: Clock) -> None:
        assert (await queue.sizes()).rows == {"Succeeded": 3}

    with_queue(tmp_path, end)
    with_queue(tmp_path, look)


def test_columns_hold_what_they_are_for(tmp_path: Path) -> None:
    columns = ("task_id", "due", "held", "started", "ended", "payload")
    query = f"SELECT {', '.join(f'typeof({one})' for one in columns)}, kept, dead FROM invocations"

    def row() -> tuple[Any, ...]:
        connection = sqlite3.connect(tmp_path / "queue.sqlite3")
        try:
            found: tuple[Any, ...] = connection.execute(query).fetchone()
            return found
        finally:
            connection.close()

    async def test(queue: Queue, _clock: Clock) -> None:
        await queue.enqueue(invocation(1))
        assert row() == ("null", "real", "integer", "null", "null", "blob", 0, 0)
        (item,), _ = await queue.take("f", 10)
        queue.begin(item)
        queue.end(item, "Failed", dead=True)
        await queue.sizes()
        assert row() == ("null", "null", "integer", "real", "real", "blob", 0, 1)

    with_queue(tmp_path, test)


def test_a_task_id_is_taken_once_per_function(tmp_path: Path) -> None:
    async def test(queue: Queue, _clock: Clock) -> None:
        await queue.enqueue(invocation(1), task_id="daily")
        with pytest.raises(AlreadyExists) as caught:
            await queue.enqueue(invocation(2), task_id="daily")
        assert (caught.value.kind, caught.value.name) == ("task", "daily")
        await queue.enqueue(invocation(3, "g"), task_id="daily")
        both = await asyncio.gather(
            *(queue.enqueue(invocation(n), task_id="same") for n in (4, 5)), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in both) == ["AlreadyExists", "Task"]

    with_queue(tmp_path, test)


def test_a_delay_is_waited_for(tmp_path: Path) -> None:
    async def test(queue: Queue, clock: Clock) -> None:
        await queue.enqueue(invocation(1), delay=30.0)
        await queue.enqueue(invocation(2))
        items, after = await queue.take("f", 10)
        assert [item.request_id for item in items] == ["id-2"]
        assert after == clock.now + 30.0
        clock.now += 30.0
        items, _ = await queue.take("f", 10)
        assert [item.request_id for item in items] == ["id-1"]

    with_queue(tmp_path, test)


def test_a_lease_that_nobody_prolongs_ends(tmp_path: Path) -> None:
    async def test(queue: Queue, clock: Clock) -> None:
        other = Queue(tmp_path / "other.sqlite3", clock)
        with pytest.raises(RuntimeError):
            await other.enqueue(invocation(1))
        await queue.enqueue(invocation(1))
        (item,), _ = await queue.take("f", 10)
        clock.now += queue.lease - 1
        await queue.renew()
        queue._taken.clear()  # whoever had it is no more
        clock.now += 2
        assert (await queue.take("f", 10))[0] == []
        clock.now += queue.lease
        (again,), _ = await queue.take("f", 10)
        assert again.request_id == item.request_id

    with_queue(tmp_path, test)


def test_what_a_process_had_when_it_ended_is_due_at_once(tmp_path: Path) -> None:
    clock = Clock()

    async def leave(queue: Queue, _clock: Clock) -> None:
        for number in range(3):
            await queue.enqueue(invocation(number), task_id=f"t{number}")
        items, _ = await queue.take("f", 2)
        queue.begin(items[0])

    async def find(queue: Queue, _clock: Clock) -> None:
        assert await queue.functions() == [("f", clock.now)]
        items, _ = await queue.take("f", 10)
        assert sorted(item.request_id for item in items) == ["id-0", "id-1", "id-2"]
        assert {item.attempts for item in items} == {0, 1}
        assert {item.state for item in items} == {"Enqueued"}

    with_queue(tmp_path, leave, clock)
    with_queue(tmp_path, find, clock)


def test_the_file_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    async def test(_queue: Queue, clock: Clock) -> None:
        with pytest.raises(UserError, match="Another runner"):
            await Queue(tmp_path / "queue.sqlite3", clock).start()

    with_queue(tmp_path, test)


def test_large_payloads_lie_beside_and_go_with_their_end(tmp_path: Path) -> None:
    async def test(queue: Queue, _clock: Clock) -> None:
        big = os.urandom(INLINE * 50)
        await queue.enqueue(invocation(1, payload=big))
        (item,), _ = await queue.take("f", 10)
        assert item.payload is None
        assert await queue.payload(item) == big
        queue.end(item, "Succeeded")
        assert (await queue.get("f", "id-1")).payload == b""

    with_queue(tmp_path, test)


def test_events_of_a_kept_task_tell_its_life(tmp_path: Path) -> None:
    async def test(queue: Queue, clock: Clock) -> None:
        await queue.enqueue(invocation(1, payload=b"in"), task_id="t")
        (item,), _ = await queue.take("f", 10)
        queue.begin(item)
        assert (await queue.get("f", "t")).state == "Running"
        item.errors += 1
        queue.again(item, clock.now + 5, error="ValueError: no")
        clock.now += 5
        (item,), _ = await queue.take("f", 10)
        queue.begin(item)
        queue.end(item, "Succeeded", result=b"out", instance="f/1")
        task = await queue.get("f", "t")
        assert [event["status"] for event in task.events] == [
            "Enqueued", "Dequeued", "Running", "Retrying", "Dequeued", "Running", "Succeeded",
        ]  # fmt: skip
        assert [event["eventId"] for event in task.events] == list(range(7))
        assert task.events[3]["eventDetail"] == "ValueError: no"
        assert (task.payload, task.result, task.attempts, task.instance) == (b"in", b"out", 2, "f/1")
        assert task.started == clock.now - 5
        assert task.ended == clock.now

    with_queue(tmp_path, test)


def test_tasks_are_listed_a_page_at_a_time(tmp_path: Path) -> None:
    async def test(queue: Queue, _clock: Clock) -> None:
        for number in range(7):
            await queue.enqueue(invocation(number), task_id=f"{'a' if number % 2 else 'b'}{number}")
        await queue.enqueue(invocation(99, "g"), task_id="a99")
        seen: list[str] = []
        token = ""
        while True:
            page, token = await queue.list("f", "$LATEST", limit=3, start=token)
            seen += [task.task_id for task in page]
            if not token:
                break
        assert seen == ["b6", "a5", "b4", "a3", "b2", "a1", "b0"]
        page, _ = await queue.list("f", prefix="a", newest_first=False, payloads=True)
        assert [task.task_id for task in page] == ["a1", "a3", "a5"]
        assert page[0].payload == b"{}"
        assert (await queue.list("f", state="Running"))[0] == []
        with pytest.raises(Invalid):
            await queue.list("f", start="x'; --")

    with_queue(tmp_path, test)


def test_only_kept_tasks_are_listed(tmp_path: Path) -> None:
    async def test(queue: Queue, _clock: Clock) -> None:
        await queue.enqueue(invocation(1))
        await queue.enqueue(invocation(2, "g"))
        assert (await queue.list("f"))[0] == []
        assert [task.request_id for task in (await queue.list("g"))[0]] == ["id-2"]

    with_queue(tmp_path, test, keep=lambda function, _qualifier: function == "g")


def test_stopping_what_waits(tmp_path: Path) -> None:
    async def test(queue: Queue, clock: Clock) -> None:
        await queue.enqueue(invocation(1), task_id="t")
        stopped = await queue.stop("f", "t")
        assert stopped.state == "Stopped"
        assert stopped.events[-1]["status"] == "Stopped"
        assert await queue.take("f", 10) == ([], None)
        assert (await queue.stop("f", "t")).state == "Stopped"
        with pytest.raises(NotFound) as caught:
            await queue.stop("f", "nobody")
        assert caught.value.kind == "task"
        await queue.enqueue(invocation(2), task_id="u")
        (item,), _ = await queue.take("f", 10)
        assert (await queue.stop("f", "u")).state == "Stopped"
        assert item.state == "Stopped"
        assert (await queue.get("f", "u")).ended == clock.now

    with_queue(tmp_path, test)


def test_dead_letters_are_read_and_driven_anew(tmp_path: Path) -> None:
    async def test(queue: Queue, clock: Clock) -> None:
        for number in range(4):
            await queue.enqueue(invocation(number, payload=b"p%d" % number))
        items, _ = await queue.take("f", 10)
        for item in items[:3]:
            item.errors = 3
            queue.end(item, "Failed", error="Boom: no", dead=True)
        letters, token = await queue.dead_letters("f", limit=2)
        assert [(one.request_id, one.payload, one.error) for one in letters] == [
            ("id-2", b"p2", "Boom: no"),
            ("id-1", b"p1", "Boom: no"),
        ]
        rest, end = await queue.dead_letters(start=token)
        assert ([one.request_id for one in rest], end) == (["id-0"], "")
        clock.now += 1000
        again = await queue.redrive(["id-0", "id-1", "id-3", "nobody"])
        assert sorted(task.request_id for task in again) == ["id-0", "id-1"]
        items, _ = await queue.take("f", 10)
        assert sorted((item.request_id, item.errors, item.enqueued) for item in items) == [
            ("id-0", 0, clock.now),
            ("id-1", 0, clock.now),
        ]
        assert (await queue.sizes()).dead == 1

    with_queue(tmp_path, test)


def test_what_has_ended_is_kept_for_so_long_and_in_such_numbers(tmp_path: Path) -> None:
    kept = Retention(ended_s=10, ended_rows=3, tasks_s=100, tasks_rows=10, dead_s=1000, dead_rows=1)

    async def test(queue: Queue, clock: Clock) -> None:
        for number in range(5):
            await queue.enqueue(invocation(number))
            (item,), _ = await queue.take("f", 10)
            queue.end(item, "Succeeded")
            clock.now += 1
        await queue.enqueue(invocation("t"), task_id="t")
        (item,), _ = await queue.take("f", 10)
        queue.end(item, "Succeeded", result=b"r")
        for name in "de":
            await queue.enqueue(invocation(name))
            (item,), _ = await queue.take("f", 10)
            queue.end(item, "Failed", dead=True)
        await queue.enqueue(invocation("waits"), delay=1e6)
        await queue.sweep()
        assert (await queue.sizes()).rows == {"Succeeded": 4, "Failed": 1, "Enqueued": 1}
        clock.now += 20
        await queue.sweep()
        assert (await queue.sizes()).rows == {"Succeeded": 1, "Failed": 1, "Enqueued": 1}
        clock.now += 100
        await queue.sweep()
        assert (await queue.sizes()).rows == {"Failed": 1, "Enqueued": 1}
        clock.now += 1000
        await queue.sweep()
        assert (await queue.sizes()).rows == {"Enqueued": 1}

    with_queue(tmp_path, test, kept=kept)


def test_a_full_file_takes_no_more_and_still_ends_what_it_has(tmp_path: Path) -> None:
    async def test(queue: Queue, _clock: Clock) -> None:
        for number in range(64):
            await queue.enqueue(invocation(number, payload=b"x" * 4000))
        with pytest.raises(LimitExceeded) as caught:
            for number in range(64, 200):
                await queue.enqueue(invocation(number, payload=b"x" * 4000))
        assert caught.value.kind == "queue"
        items, _ = await queue.take("f", 200)
        for item in items:
            queue.end(item, "Succeeded")
        assert (await queue.sizes()).rows == {"Succeeded": len(items)}

    with_queue(tmp_path, test, max_bytes=200_000)


def test_deliveries_wait_until_they_are_made(tmp_path: Path) -> None:
    async def test(queue: Queue, clock: Clock) -> None:
        await queue.enqueue(invocation(1), task_id="t")
        (item,), _ = await queue.take("f", 10)
        made = Delivery(
            "http://a/", "on_success", "f", "id-1", b"{}", attributes=(("a", "b"),), created=clock.now
        )
        queue.end(item, "Succeeded", deliveries=[made, replace(made, target="http://b/")])
        found, later = await queue.deliveries(10)
        assert [(one.target, one.attributes) for one in found] == [
            ("http://a/", (("a", "b"),)), ("http://b/", (("a", "b"),)),
        ]  # fmt: skip
        assert later is None
        assert (await queue.deliveries(10, [found[0].number], ["http://b/"]))[0] == []
        await queue.deliver_again(found[0], clock.now + 7)
        await queue.delivered([found[1]], "Succeeded")
        assert await queue.deliveries(10) == ([], clock.now + 7)
        clock.now += 7
        ((one,), _) = await queue.deliveries(10)
        assert one.attempts == 1
        assert (await queue.get("f", "t")).destination_status == "Succeeded"

    with_queue(tmp_path, test)


def test_a_file_of_a_newer_runner_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "queue.sqlite3"
    with_queue(tmp_path, lambda _queue, _clock: asyncio.sleep(0))
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UserError, match="newer"):
        with_queue(tmp_path, lambda _queue, _clock: asyncio.sleep(0))


def test_a_full_disk_is_told_in_a_sentence_and_passes(tmp_path: Path) -> None:
    async def test(queue: Queue, _clock: Clock) -> None:
        def limit(connection: sqlite3.Connection, pages: int) -> None:
            connection.execute(f"PRAGMA max_page_count = {pages}")

        await queue._write(lambda connection: limit(connection, 1))
        with pytest.raises(Unavailable, match="the queue cannot be written to: .*full"):
            for number in range(50):
                await queue.enqueue(invocation(number, payload=b"x" * 100_000))
        await queue._write(lambda connection: limit(connection, 1 << 30))
        await queue.enqueue(invocation(99, payload=b"x" * 100_000))

    with_queue(tmp_path, test)


def test_faces_say_that_the_queue_is_unavailable() -> None:
    error = Unavailable("the queue cannot be written to: disk I/O error", "queue")
    assert lambda_errors.of(error).name == "ServiceException"
    assert lambda_errors.of(error).message == error.message
    answer = fc_errors.of(error)
    assert (answer.status, answer.code, answer.message) == (503, "ServiceUnavailable", error.message)
