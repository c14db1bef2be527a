"""Provisioned instances: FC's policies as pure functions of config and clock, and in force on a registry."""

from __future__ import annotations

import asyncio
import datetime
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registering import CONFIGURATION, code, registry
from snapfork.runner.registry import provisioning
from snapfork.runner.registry.errors import Invalid, LimitExceeded, NotFound
from snapfork.runner.registry.model import AsyncConfig, ProvisionConfig
from snapfork.runner.registry.provisioner import LOOKS, PERIOD

UTILISATION = "ProvisionedConcurrencyUtilization"


def moment(text: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp()


class Minutes:
    """A clock that goes on by a minute of the provisioner's with `go_on`."""

    def __init__(self, start: str) -> None:
        self._now = moment(start)
        self._next = asyncio.Semaphore(0)

    def go_on(self, looks: int = LOOKS) -> None:
        for _ in range(looks):
            self._next.release()

    def clock(self) -> float:
        return self._now

    async def stands(self) -> None:
        """Wait until all of the time has passed that was given."""
        while not self._next.locked():
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)

    async def sleep(self, seconds: float) -> None:
        if seconds != PERIOD / LOOKS:  # the sweeper's
            await asyncio.Event().wait()
        await self._next.acquire()
        self._now += seconds


def config(target: int = 1, scheduled: Any = (), tracking: Any = ()) -> ProvisionConfig:
    return ProvisionConfig("shop", "live", target, tuple(scheduled), tuple(tracking))


def action(expression: str, target: int, **more: Any) -> dict[str, Any]:
    return {"name": f"{expression}{target}", "scheduleExpression": expression, "target": target, **more}


def tracking(goal: float = 0.5, least: int = 1, most: int = 200, **more: Any) -> dict[str, Any]:
    wanted = {"name": "t", "metricType": UTILISATION, "metricTarget": goal}
    return {**wanted, "minCapacity": least, "maxCapacity": most, **more}


def test_the_documented_example_scales_in_damped_and_out_at_once() -> None:
    assert provisioning.tracked(tracking(), 100, 0.4) == 82
    assert provisioning.tracked(tracking(), 100, 0.6) == 120
    assert provisioning.tracked(tracking(), 100, 0.5) == 100
    assert provisioning.tracked(tracking(most=110), 100, 1.0) == 110
    assert provisioning.tracked(tracking(least=90), 100, 0.1) == 90
    assert provisioning.tracked(tracking(least=5), 0, None) == 5
    assert provisioning.tracked(tracking(), 100, None) == 100


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0.01, 1))
def test_tracking_moves_towards_the_target_and_stays_within_its_bounds(
    current: int, utilisation: float, goal: float
) -> None:
    wanted = provisioning.tracked(tracking(goal, 1, 10_000), current, utilisation)
    assert 1 <= wanted <= 10_000
    if utilisation > goal:
        assert wanted >= current
        assert wanted == 10_000 or wanted * goal >= current * utilisation - 1e-6
    elif utilisation < goal:
        assert wanted <= current
        assert wanted >= math.floor(current * utilisation / goal)


def test_scheduled_actions_are_in_force_from_their_time_on() -> None:
    evening, night = action("cron(0 0 20 * * *)", 50), action("cron(0 0 23 * * *)", 5)
    both = config(1, [{**evening, "startTime": "2026-01-10T00:00:00Z", "endTime": "2026-01-12T00:00:00Z"}])
    assert provisioning.target(both, moment("2026-01-10T19:59:59"), 1, {}) == 1
    assert provisioning.target(both, moment("2026-01-10T20:00:00"), 1, {}) == 50
    assert provisioning.target(both, moment("2026-01-11T12:00:00"), 50, {}) == 50
    assert provisioning.target(both, moment("2026-01-12T00:00:00"), 50, {}) == 1
    largest = config(1, [evening, night])
    assert provisioning.target(largest, moment("2026-01-10T23:30:00"), 1, {}) == 50
    once = config(2, [action("at(2026-01-10T08:00:00)", 7)])
    assert [provisioning.target(once, moment(f"2026-01-10T0{hour}:00:00"), 2, {}) for hour in (7, 8)] == [
        2,
        7,
    ]


def test_times_are_local_where_a_zone_is_named() -> None:
    shanghai = config(0, [action("at(2026-01-10T08:00:00)", 7, timeZone="Asia/Shanghai")])
    assert provisioning.target(shanghai, moment("2026-01-09T23:59:59"), 0, {}) == 0
    assert provisioning.target(shanghai, moment("2026-01-10T00:00:00"), 0, {}) == 7
    daily = config(
        0, [action("cron(0 0 8 * * *)", 3, timeZone="Asia/Shanghai", startTime="2026-01-10T00:00:00")]
    )
    assert provisioning.target(daily, moment("2026-01-10T00:00:00"), 0, {}) == 3
    assert provisioning.target(daily, moment("2026-01-09T16:00:00"), 0, {}) == 0


def test_of_several_in_force_the_largest_counts() -> None:
    both = config(1, [action("at(2026-01-01T00:00:00)", 30)], [tracking(0.5, 1, 100)])
    now = moment("2026-01-02T00:00:00")
    assert provisioning.target(both, now, 30, {UTILISATION: 1.0}) == 60
    assert provisioning.target(both, now, 30, {UTILISATION: 0.1}) == 30


BAD = [
    (config(scheduled=[{"scheduleExpression": "at(2026-01-01T00:00:00)", "target": 1}]), "name"),
    (config(scheduled=[action("at(2026-13-01T00:00:00)", 1)]), "scheduleExpression"),
    (config(scheduled=[action("cron(0 20 * * *)", 1)]), "cronExpression"),
    (config(scheduled=[action("tomorrow", 1)]), "scheduleExpression"),
    (config(scheduled=[action("cron(0 0 20 * * *)", -1)]), "target"),
    (config(scheduled=[action("cron(0 0 20 * * *)", 1, timeZone="Moon/Crater")]), "timeZone"),
    (config(scheduled=[action("cron(0 0 20 * * *)", 1, startTime="now")]), "startTime"),
    (
        config(
            scheduled=[
                action("cron(0 0 2 * * *)", 1, startTime="2026-01-02T00:00:00", endTime="2026-01-01T00:00:00")
            ]
        ),
        "endTime",
    ),
    (config(tracking=[tracking(metricType="GPUMemUtilization")]), "metricType"),
    (config(tracking=[tracking(goal=0)]), "metricTarget"),
    (config(tracking=[tracking(goal=1.5)]), "metricTarget"),
    (config(tracking=[tracking(least=9, most=8)]), "minCapacity"),
    (config(tracking=[tracking(least=True)]), "minCapacity"),
    (config(tracking=[tracking(), tracking()]), "name"),
]


@pytest.mark.parametrize(("wrong", "member"), BAD)
def test_policies_that_may_not_be(wrong: ProvisionConfig, member: str) -> None:
    with pytest.raises(Invalid) as caught:
        provisioning.check(wrong)
    assert caught.value.member == member


def test_policies_come_into_force_with_the_clock(tmp_path: Path) -> None:
    async def whole() -> None:
        minutes = Minutes("2026-01-10T19:59:00")
        opened = registry(tmp_path / "data", clock=minutes.clock, sleep=minutes.sleep)
        async with opened as (operations, gateway):
            await operations.create("shop", CONFIGURATION, code(1), publish=True)
            await operations.alias_create("shop", "live", "1")
            evening = [action("cron(0 0 20 * * *)", 4)]
            begun = [{**evening[0], "startTime": "2026-01-10T00:00:00Z"}]
            await operations.set_provision(config(1, begun))
            assert gateway.units["shop:1"].minimum == 1
            assert await operations.get_provision("shop", "live") == (
                operations.image.all(ProvisionConfig)[0],
                *(0, "IN_PROGRESS", ""),
            )
            minutes.go_on()
            while gateway.units["shop:1"].minimum != 4:
                await asyncio.sleep(0)
            gateway.status_of = {"shop:1": {"ready": 3, "state": "ready"}}
            assert (await operations.get_provision("shop", "live"))[1:] == (3, "IN_PROGRESS", "")
            gateway.status_of["shop:1"]["ready"] = 4
            assert (await operations.get_provision("shop", "live"))[1:] == (4, "READY", "")
            gateway.status_of["shop:1"] = {"ready": 0, "state": "failed", "error": "no such module"}
            assert (await operations.get_provision("shop", "live"))[1:] == (0, "FAILED", "no such module")
            assert operations.provision_target(operations.image.all(ProvisionConfig)[0]) == 4
            await operations.delete_provision("shop", "live")
            assert gateway.units["shop:1"].minimum == 0
            with pytest.raises(NotFound) as missing:
                await operations.get_provision("shop", "live")
            assert missing.value.kind == "provision_config"

    asyncio.run(whole())


def test_utilisation_is_measured_on_the_instances(tmp_path: Path) -> None:
    async def whole() -> None:
        minutes = Minutes("2026-01-10T00:00:00")
        opened = registry(tmp_path / "data", clock=minutes.clock, sleep=minutes.sleep)
        async with opened as (operations, gateway):
            await operations.create("shop", CONFIGURATION, code(1), publish=True)
            instances = [{"number": n, "pid": os.getpid(), "state": "busy"} for n in range(4)]
            instances += [{"number": n, "pid": os.getpid(), "state": "idle"} for n in range(4, 8)]  # spares
            gateway.status_of = {"shop:1": {"ready": 4, "state": "ready", "instances": instances}}
            tracked = ProvisionConfig("shop", "1", 4, (), (tracking(0.5, 1, 100),))
            await operations.set_provision(tracked)
            assert gateway.units["shop:1"].minimum == 8  # at once; then every minute
            for instance in instances:
                instance["state"] = "busy"
            minutes.go_on()
            while gateway.units["shop:1"].minimum != 16:
                await asyncio.sleep(0)
            minutes.go_on(LOOKS - 1)  # half of 16 are busy
            await minutes.stands()
            for instance in instances:
                instance["state"] = "idle"
            minutes.go_on(1)
            await minutes.stands()
            assert gateway.units["shop:1"].minimum == 15  # a moment's idleness is a twelfth of the minute's
            minutes.go_on()
            while gateway.units["shop:1"].minimum >= 15:
                await asyncio.sleep(0)
            assert len(await operations.instances("shop", "1")) == 8
            assert (await operations.instances("shop"))[0]["version"] == "1"

    asyncio.run(whole())


def test_reserved_concurrency_leaves_the_rest_enough(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data") as (operations, _):
            await operations.create("a", CONFIGURATION, code(1))
            await operations.create("b", CONFIGURATION, code(1))
            await operations.set_reserved("a", 600)
            with pytest.raises(LimitExceeded):
                await operations.set_reserved("b", 301)
            with pytest.raises(Invalid):
                await operations.set_reserved("b", -1)
            await operations.set_reserved("b", 0)
            assert [one.name for one in operations.list_reserved()[0]] == ["a", "b"]
            await operations.set_reserved("a", None)
            assert (operations.get_reserved("a"), operations.get_reserved("b")) == (None, 0)

    asyncio.run(whole())


def test_async_configs_are_as_set_or_as_where_the_function_was_made(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data", clock=lambda: 100.0) as (operations, _):
            await operations.create("shop", CONFIGURATION, code(1), publish=True)
            default = operations.async_policy("shop", "$LATEST")
            assert (default.retries, default.retry_delays, default.max_age) == (2, (60.0, 120.0), 21600.0)
            with pytest.raises(NotFound) as missing:
                operations.get_async("shop")
            assert missing.value.kind == "async_config"
            wanted = AsyncConfig("shop", "LATEST", 0, (1.0,), 60.0, "https://x", tasks=True)
            made = await operations.set_async(wanted)
            assert (made.qualifier, made.created) == ("", 100.0)
            assert operations.async_policy("shop") == made == operations.get_async("shop", "$LATEST")
            assert operations.async_policy("shop", "1").retries == 2
            for bad in (AsyncConfig("shop", "", 9, (), None), AsyncConfig("shop", "", 1, (), 2_592_001.0)):
                with pytest.raises(Invalid):
                    await operations.set_async(bad)
            with pytest.raises(NotFound):
                await operations.set_async(AsyncConfig("shop", "none", 1, (), None))
            assert operations.list_async("shop")[0] == [made] == operations.list_async()[0]
            await operations.delete_async("shop")
            assert operations.async_policy("shop") == default

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("total", "choices", "dealt"),
    [
        (1, [("4", 0.8), ("5", 0.2)], {"4": 1, "5": 0}),
        (1, [("4", 0.5), ("5", 0.5)], {"4": 1, "5": 0}),
        (3, [("1", 0.5), ("2", 0.5)], {"1": 2, "2": 1}),
        (10, [("1", 0.9), ("2", 0.1)], {"1": 9, "2": 1}),
        (5, [("1", 1.0)], {"1": 5}),
        (0, [("1", 0.9), ("2", 0.1)], {"1": 0, "2": 0}),
    ],
)
def test_shares_sum_to_what_was_asked_for(
    total: int, choices: list[tuple[str, float]], dealt: dict[str, int]
) -> None:
    assert provisioning.shares(total, choices) == dealt
