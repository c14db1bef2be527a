"""Timers: each tick once, whatever is restarted; one for all that were missed."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapfork.runner.registry.errors import LimitExceeded
from snapfork.runner.registry.model import Trigger
from snapfork.runner.triggers import events
from snapfork.runner.triggers.events import Site
from snapfork.runner.triggers.memory import Memory
from snapfork.runner.triggers.timers import Means, Timers
from triggering import Enqueued, Registry, timer

START = datetime.datetime(2026, 3, 1, 12, 0, 0, tzinfo=datetime.UTC).timestamp()


class Rig:
    """Timers whose clock the test moves, over a file that survives restarts."""

    def __init__(self, directory: Path, *triggers: Trigger) -> None:
        self.now = START
        self.registry = Registry(*triggers)
        self.queue = Enqueued()
        self.directory = directory

    async def open(self) -> Timers:
        self.memory = Memory(self.directory / "triggers.sqlite3")
        await self.memory.start()
        self.timers = Timers(Means(self.registry, self.queue, self.memory, clock=lambda: self.now))
        self.timers._last = await self.memory.ticks()
        return self.timers

    async def restart(self) -> None:
        await self.memory.close()
        await self.open()

    async def move(self, seconds: float) -> float | None:
        self.now += seconds
        return await self.timers.step()

    def times(self) -> list[str]:
        return [json.loads(one.payload)["triggerTime"] for one in self.queue.taken.values()]


def rig(directory: Path, test: Callable[[Rig], Awaitable[None]], *triggers: Trigger) -> None:
    async def run() -> None:
        one = Rig(directory, *triggers)
        await one.open()
        try:
            await test(one)
        finally:
            await one.memory.close()

    asyncio.run(run())


def test_a_timer_fires_at_its_ticks(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        assert await one.move(0) == START + 300
        assert await one.move(299) == START + 300
        assert one.queue.taken == {}
        assert await one.move(1) == START + 600
        assert await one.move(1) == START + 600
        (fired,) = one.queue.taken.values()
        assert json.loads(fired.payload) == {
            "triggerTime": "2026-03-01T12:05:00Z", "triggerName": "tick", "payload": "awesome",
        }  # fmt: skip
        assert (fired.function, fired.trigger, fired.dialect) == ("f", "timer", "fc")

    rig(tmp_path, test, timer("@every 5m", modified=START, payload="awesome"))


def test_a_tick_is_fired_once_whatever_is_restarted(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        for _ in range(10):
            await one.move(30)
            await one.restart()
            await one.move(0)
        assert one.times() == [f"2026-03-01T12:0{minute}:00Z" for minute in range(1, 6)]
        assert len(one.queue.seen) == 5

    rig(tmp_path, test, timer("0 * * * * *", modified=START))


def test_a_tick_that_was_not_remembered_is_the_same_invocation(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        await one.move(60)
        await one.memory.ticked("t1", START)  # killed between the queue's commit and its own
        await one.restart()
        await one.move(0)
        assert len(one.queue.seen) == 2
        assert len(one.queue.taken) == 1

    rig(tmp_path, test, timer("0 * * * * *", modified=START))


def test_missed_ticks_are_made_up_for_by_the_latest(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        await one.move(60)
        await one.move(3 * 3600 + 59)
        assert one.times() == ["2026-03-01T12:01:00Z", "2026-03-01T15:01:00Z"]

    rig(tmp_path, test, timer("0 * * * * *", modified=START))


def test_what_was_missed_while_disabled_or_before_a_change_is_no_tick(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        was = one.registry.all[0]
        await one.move(60)
        one.registry.all = [replace(was, enabled=False, modified=START + 61)]
        assert await one.move(600) is None
        one.registry.all = [replace(was, modified=one.now)]
        await one.move(30)
        assert one.times() == ["2026-03-01T12:01:00Z"]
        await one.move(30)
        assert len(one.queue.taken) == 2

    rig(tmp_path, test, timer("0 * * * * *", modified=START))


def test_zones_names_and_question_marks(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        assert await one.move(0) == datetime.datetime(2026, 3, 1, 20, 0, tzinfo=datetime.UTC).timestamp()
        one.registry.all = [timer("0 30 9 ? MAR MON-FRI", modified=START)]
        assert await one.move(0) == datetime.datetime(2026, 3, 2, 9, 30, tzinfo=datetime.UTC).timestamp()

    rig(tmp_path, test, timer("CRON_TZ=Asia/Shanghai 0 0 4 * * *", modified=START))


def test_a_queue_that_is_full_is_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test(one: Rig) -> None:
        one.queue.refuse = LimitExceeded("The queue is full.", "queue")
        assert await one.move(60) == one.now + 1
        one.queue.refuse = None
        await one.move(1)
        assert one.times() == ["2026-03-01T12:01:00Z"]

    rig(tmp_path, test, timer("0 * * * * *", modified=START))
    assert "The queue is full." in capsys.readouterr().err


def test_a_deleted_function_fires_nothing(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        await one.move(60)
        assert one.queue.seen == []

    rig(tmp_path, test, timer("0 * * * * *", function="gone", modified=START))


def test_the_event_of_a_lambda_function_is_a_scheduled_event() -> None:
    made = json.loads(
        events.timer(timer("@every 1m", payload='{"a": 1}'), "lambda", START, Site("eu-x", "1"))
    )
    assert made["detail-type"] == "Scheduled Event"
    assert made["source"] == "aws.events"
    assert made["time"] == "2026-03-01T12:00:00Z"
    assert made["resources"] == ["arn:aws:events:eu-x:1:rule/tick"]
    assert made["detail"] == {"a": 1}
    assert json.loads(events.timer(timer("@every 1m", payload="x"), "runner", START, Site()))["detail"] == {
        "payload": "x"
    }


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 400), st.booleans()), min_size=1, max_size=12))
def test_ticks_come_in_order_and_never_twice(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[float, bool]]
) -> None:
    async def test(one: Rig) -> None:
        for seconds, restart in steps:
            await one.move(seconds)
            if restart:
                await one.restart()
        times = one.times()
        assert times == sorted(set(times))
        assert len(one.queue.seen) == len(times)
        passed = int((one.now - START) // 60)
        assert len(times) <= passed
        assert bool(times) == (passed > 0)

    rig(tmp_path_factory.mktemp("timers"), test, timer("0 * * * * *", modified=START))
