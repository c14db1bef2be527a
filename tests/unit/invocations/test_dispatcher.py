"""The dispatcher over a real queue, with an invoker that obeys and a clock that the test moves."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from invoking import Clock, Obedient, Registry, invocation, until
from snapfork.runner.invocations.dispatcher import Dispatcher
from snapfork.runner.invocations.item import INLINE
from snapfork.runner.invocations.model import Invocation, Result
from snapfork.runner.invocations.queue import Queue
from snapfork.runner.policy.fairness import TOTAL
from snapfork.runner.registry.errors import Conflict, Disabled, NotFound, Throttled, TooLarge

BOOM = Result(b'{"errorMessage":"no","errorType":"Boom"}', "unhandled", "LATEST", instance="f/7")


class Stage:
    """A queue and its dispatcher, running."""

    def __init__(self, directory: Path, invoker: Obedient | None = None) -> None:
        self.clock = Clock()
        self.registry = Registry()
        self.registry.add("f")
        self.invoker = invoker or Obedient()
        self.queue = Queue(directory / "queue.sqlite3", self.clock)
        self.dispatcher = Dispatcher(self.queue, self.registry, self.invoker, self.clock)
        self.woken = 0

    async def __aenter__(self) -> Stage:
        await self.queue.start()
        await self.dispatcher.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.dispatcher.close()
        await self.queue.close()

    async def move(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds
        self.dispatcher.tick()

    async def state(self, number: object, function: str = "f") -> str:
        return (await self.queue.get(function, f"id-{number}")).state

    async def reaches(self, number: object, state: str, function: str = "f") -> None:
        while await self.state(number, function) != state:
            await asyncio.sleep(0.001)


def stage(directory: Path, test: Callable[[Stage], Awaitable[None]], invoker: Obedient | None = None) -> None:
    async def run() -> None:
        async with Stage(directory, invoker) as one:
            await test(one)

    asyncio.run(run())


def failing(error: Result | Exception, times: int = 1 << 30) -> Obedient:
    """Fails `times` times, then succeeds."""
    count = 0

    async def act(_invocation: Invocation) -> Result:
        nonlocal count
        count += 1
        if count > times:
            return Result(b"1")
        if isinstance(error, Exception):
            raise error
        return error

    return Obedient(act)


def test_what_is_enqueued_runs_once(tmp_path: Path) -> None:
    async def test(one: Stage) -> None:
        await asyncio.gather(*(one.queue.enqueue(invocation(n, payload=b"%d" % n)) for n in range(500)))
        await until(lambda: len(one.invoker.seen) == 500)
        await one.reaches(499, "Succeeded")
        assert Counter(seen.payload for seen in one.invoker.seen) == Counter(b"%d" % n for n in range(500))
        assert (await one.queue.sizes()).rows == {"Succeeded": 500}

    stage(tmp_path, test)


def test_a_backlog_of_an_earlier_process_runs(tmp_path: Path) -> None:
    async def fill() -> None:
        queue = Queue(tmp_path / "queue.sqlite3", Clock())
        await queue.start()
        await asyncio.gather(*(queue.enqueue(invocation(n, payload=b"x" * n * 10)) for n in range(1000)))
        await queue.close()

    async def test(one: Stage) -> None:
        await until(lambda: len(one.invoker.seen) == 1000)
        assert {len(seen.payload) for seen in one.invoker.seen} == {n * 10 for n in range(1000)}
        assert max(len(seen.payload) for seen in one.invoker.seen) > INLINE

    asyncio.run(fill())
    stage(tmp_path, test)


def test_a_function_error_is_retried_after_its_delays_then_a_dead_letter(tmp_path: Path) -> None:
    async def test(one: Stage) -> None:
        await one.queue.enqueue(invocation(1), task_id="t")
        await one.reaches(1, "Retrying")
        await one.move(59)
        assert await one.state(1) == "Retrying"
        await one.move(1)
        await until(lambda: len(one.invoker.seen) == 2)
        await one.reaches(1, "Retrying")
        await one.move(120)
        await one.reaches(1, "Failed")
        assert [seen.attempt for seen in one.invoker.seen] == [1, 2, 3]
        ((letter,), _) = await one.queue.dead_letters("f")
        assert (letter.error, letter.attempts, letter.payload, letter.instance) == (
            "Boom: no",
            3,
            b"{}",
            "f/7",
        )

    stage(tmp_path, test, failing(BOOM))


def test_a_retry_that_succeeds_ends_it(tmp_path: Path) -> None:
    async def test(one: Stage) -> None:
        await one.queue.enqueue(invocation(1))
        await one.reaches(1, "Retrying")
        await one.move(60)
        await one.reaches(1, "Succeeded")
        assert (await one.queue.dead_letters())[0] == []

    stage(tmp_path, test, failing(BOOM, times=1))


@pytest.mark.parametrize(
    "error",
    [
        Throttled("busy"), Disabled("off"), Conflict("not ready"),
        Result(b"", "unavailable"), Result(b"", "throttled"),
    ],
)  # fmt: skip
def test_system_errors_are_backed_off_until_it_runs(tmp_path: Path, error: Any) -> None:
    async def test(one: Stage) -> None:
        await one.queue.enqueue(invocation(1))
        for delay in (1, 2, 4, 8):
            await one.reaches(1, "Retrying")
            seen = len(one.invoker.seen)
            await one.move(delay * 0.99)
            assert len(one.invoker.seen) == seen
            await one.move(delay * 0.5)
            await until(lambda seen=seen: len(one.invoker.seen) == seen + 1)
        await one.reaches(1, "Succeeded")
        assert (await one.queue.get("f", "id-1")).attempts == 5

    stage(tmp_path, test, failing(error, times=4))


def test_system_errors_do_not_use_up_the_retries(tmp_path: Path) -> None:
    answers = [Throttled("busy"), Throttled("busy"), BOOM, Throttled("busy"), BOOM, BOOM]

    async def act(_invocation: Invocation) -> Result:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def test(one: Stage) -> None:
        await one.queue.enqueue(invocation(1))
        while await one.state(1) != "Failed":
            await one.move(125)
            await asyncio.sleep(0.001)
        assert answers == []

    stage(tmp_path, test, Obedient(act))


def test_what_is_too_old_is_not_begun(tmp_path: Path) -> None:
    async def test(one: Stage) -> None:
        one.registry.add("f", max_age=100.0)
        await one.queue.enqueue(invocation(1), delay=50.0)
        await one.queue.enqueue(invocation(2), delay=150.0)
        await one.move(60)
        await one.reaches(1, "Succeeded")
        await one.move(100)
        await one.reaches(2, "Expired")
        assert [seen.id for seen in one.invoker.seen] == ["id-1"]
        assert [letter.error for letter in (await one.queue.dead_letters())[0]] == ["EventAgeExceeded"]

    stage(tmp_path, test)


def test_throttled_until_its_age_is_over_expires(tmp_path: Path) -> None:
    async def test(one: Stage) -> None:
        one.registry.add("f", max_age=60.0)
        await one.queue.enqueue(invocation(1))
        while await one.state(1) != "Expired":
            await one.move(5)
            await asyncio.sleep(0.001)
        assert one.clock.now < Clock().now + 90

    stage(tmp_path, test, failing(Throttled("busy")))


def test_a_reserved_concurrency_of_0_goes_straight_to_the_dead_letters(tmp_path: Path) -> None:
    async def test(one: Stage) -> None:
        one.registry.add("f", reserved=0)
        await asyncio.gather(*(one.queue.enqueue(invocation(n)) for n in range(20)))
        await one.reaches(19, "Failed")
        await until(lambda: len(one.invoker.seen) == 20)
        assert (await one.queue.sizes()).dead == 20

    stage(tmp_path, test, failing(Throttled("reserved")))


def test_a_function_that_is_gone_makes_it_an_invalid_dead_letter(tmp_path: Path) -> None:
    async def test(one: Stage) -> None:
        await one.queue.enqueue(invocation(1, "nobody"))
        await one.reaches(1, "Invalid", "nobody")
        await one.queue.enqueue(invocation(2), task_id="t")
        await one.reaches(2, "Invalid")
        (letter,), _ = await one.queue.dead_letters("nobody")
        assert (letter.request_id, letter.payload) == ("id-1", invocation(1).payload)
        assert (await one.queue.sizes()).dead == 2

    stage(tmp_path, test, failing(NotFound("no version 7", "version")))


def test_a_payload_that_is_refused_is_not_tried_again(tmp_path: Path) -> None:
    async def test(one: Stage) -> None:
        await one.queue.enqueue(invocation(1))
        await one.reaches(1, "Failed")
        assert len(one.invoker.seen) == 1

    stage(tmp_path, test, failing(TooLarge("too large", "payload")))


def test_an_error_of_ours_loses_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def test(one: Stage) -> None:
        await one.queue.enqueue(invocation(1))
        await one.reaches(1, "Retrying")
        await one.move(1)
        await one.reaches(1, "Succeeded")

    stage(tmp_path, test, failing(ZeroDivisionError("ours"), times=1))
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_slow_and_poisoned_functions_starve_nobody(tmp_path: Path) -> None:
    never = asyncio.Event()
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def act(one: Invocation) -> Result:
        running[one.function] += 1
        most[one.function] = max(most[one.function], running[one.function])
        try:
            if one.function.startswith("slow"):
                await never.wait()
            if one.function == "poisoned":
                return BOOM
            await asyncio.sleep(0)
            return Result(b"1")
        finally:
            running[one.function] -= 1

    async def test(one: Stage) -> None:
        slow = [f"slow{number}" for number in range(30)]
        for name in [*slow, "poisoned", "quick"]:
            one.registry.add(name, retries=8, retry_delays=(0.0,))
        for name in slow:
            await asyncio.gather(*(one.queue.enqueue(invocation(f"{name}-{n}", name)) for n in range(100)))
        await asyncio.gather(*(one.queue.enqueue(invocation(f"p{n}", "poisoned")) for n in range(300)))
        await asyncio.gather(*(one.queue.enqueue(invocation(f"q{n}", "quick")) for n in range(300)))
        quick = [f"id-q{n}" for n in range(300)]
        await until(lambda: sum(seen.function == "quick" for seen in one.invoker.seen) == len(quick))
        await one.reaches("q299", "Succeeded", "quick")
        assert sum(most[name] for name in slow) <= TOTAL + 60
        assert all(most[name] >= 1 for name in slow)
        never.set()

    stage(tmp_path, test, Obedient(act))


def test_reserved_concurrency_bounds_what_is_in_flight(tmp_path: Path) -> None:
    running = most = 0

    async def act(_one: Invocation) -> Result:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return Result(b"1")

    async def test(one: Stage) -> None:
        one.registry.add("f", reserved=3)
        one.dispatcher.lanes.lane("f").window.cap = 3
        await asyncio.gather(*(one.queue.enqueue(invocation(n)) for n in range(100)))
        await until(lambda: len(one.invoker.seen) == 100)
        await one.reaches(99, "Succeeded")
        assert most <= 3

    stage(tmp_path, test, Obedient(act))


def test_stopping_what_runs(tmp_path: Path) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def act(one: Invocation) -> Result:
        if one.id != "id-1":
            return Result(b"1")
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError

    async def test(one: Stage) -> None:
        await one.queue.enqueue(invocation(1), task_id="t")
        await begun.wait()
        assert (await one.queue.get("f", "t")).state == "Running"
        assert (await one.queue.stop("f", "t")).state == "Stopping"
        await gone.wait()
        await one.reaches(1, "Stopped")
        task = await one.queue.get("f", "t")
        assert "AsyncInvocationStopped" in task.error
        assert [event["status"] for event in task.events][-2:] == ["Stopping", "Stopped"]
        assert (await one.queue.dead_letters())[0] == []
        await one.queue.enqueue(invocation(2))
        await one.reaches(2, "Succeeded")
        assert one.dispatcher.lanes.in_flight == 0

    stage(tmp_path, test, Obedient(act))


def test_destinations_get_their_records(tmp_path: Path) -> None:
    async def act(one: Invocation) -> Result:
        return BOOM if one.payload == b'"bad"' else Result(b'{"done":1}', version="LATEST")

    async def test(one: Stage) -> None:
        one.registry.add(
            "f", retries=0, on_success="good", on_failure="bad", dead_letter="file:///dead.jsonl"
        )
        one.registry.add("g", "fc", retries=0, on_success="acs:fc:::functions/good", on_failure="bad")
        for name in "fg":
            await one.queue.enqueue(invocation(f"{name}1", name, b'"fine"'))
            await one.queue.enqueue(invocation(f"{name}2", name, b'"bad"'))
            await one.reaches(f"{name}1", "Succeeded", name)
            await one.reaches(f"{name}2", "Failed", name)
        found = {(made.kind, made.function): made for made in (await one.queue.deliveries(10))[0]}
        assert set(found) == {
            ("on_success", "f"), ("on_failure", "f"), ("dead_letter", "f"),
            ("on_success", "g"), ("on_failure", "g"),
        }  # fmt: skip
        good = json.loads(found["on_success", "f"].body)
        assert good["requestContext"] == {
            "requestId": "id-f1",
            "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST",
            "condition": "Success",
            "approximateInvokeCount": 1,
        }
        assert (good["version"], good["requestPayload"], good["responsePayload"]) == (
            "1.0",
            "fine",
            {"done": 1},
        )
        assert good["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
        bad = json.loads(found["on_failure", "f"].body)
        assert bad["requestContext"]["condition"] == "RetriesExhausted"
        assert bad["responseContext"]["functionError"] == "Unhandled"
        dead = found["dead_letter", "f"]
        assert (dead.body, dict(dead.attributes)["ErrorMessage"]) == (b'"bad"', "Boom: no")
        fc = json.loads(found["on_failure", "g"].body)
        assert fc["requestContext"]["condition"] == "UnhandledInvocationError"
        assert (fc["requestPayload"], fc["responseContext"]["statusCode"]) == ('"bad"', 200)

    stage(tmp_path, test, Obedient(act))


def test_destinations_are_told_of_a_function_that_goes_when_it_is_to_run(tmp_path: Path) -> None:
    async def test(one: Stage) -> None:
        one.registry.add("f", on_failure="bad", dead_letter="file:///dead.jsonl")
        await one.queue.enqueue(invocation(1))
        await one.reaches(1, "Invalid")
        found = {made.kind: made for made in (await one.queue.deliveries(10))[0]}
        assert set(found) == {"on_failure", "dead_letter"}
        told = json.loads(found["on_failure"].body)
        assert told["responsePayload"] == {"errorType": "NotFound", "errorMessage": "There is no function f."}
        assert len((await one.queue.dead_letters("f"))[0]) == 1

    stage(tmp_path, test, failing(NotFound("There is no function f.", "function", "f")))


def test_what_still_runs_at_the_end_runs_again(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def act(_one: Invocation) -> Result:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def first(one: Stage) -> None:
        await one.queue.enqueue(invocation(1))
        await begun.wait()

    async def second(one: Stage) -> None:
        await until(lambda: one.invoker.seen)
        await one.reaches(1, "Succeeded")

    stage(tmp_path, first, Obedient(act))
    stage(tmp_path, second)


def test_a_redriven_letter_runs(tmp_path: Path) -> None:
    async def test(one: Stage) -> None:
        one.registry.configs["f"] = replace(one.registry.configs["f"], retries=0)
        await one.queue.enqueue(invocation(1))
        await one.reaches(1, "Failed")
        await one.queue.redrive(["id-1"])
        await one.reaches(1, "Succeeded")

    stage(tmp_path, test, failing(BOOM, times=1))
