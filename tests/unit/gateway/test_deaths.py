"""Deaths are counted once, by cause; an order that no template carried out is none."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from snapfork.runner.gateway.deaths import Deaths
from snapfork.runner.gateway.instances import Instance
from snapfork.runner.gateway.kits import Kits


@pytest.mark.parametrize(
    ("pid", "cause", "bye", "status", "counted"),
    [
        (0, "", False, None, {}),
        (0, "timeout", False, None, {}),
        (7, "timeout", True, 9, {"timeout": 1}),
        (7, "", True, None, {"left": 1}),
        (7, "", False, None, {"unknown": 1}),
    ],
)
def test_each_death_once(
    pid: int, cause: str, bye: bool, status: int | None, counted: dict[str, int]
) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        kit = Kits(loop, lambda: None).take(1)
        one = Instance(1, 2, 1, 1, kit, 0)
        one.pid, one.cause, one.said_bye, one.status = pid, cause, bye, status
        counts: Counter[str] = Counter()
        instances = {1: one}
        deaths = Deaths(loop, counts, instances)
        deaths.add(one)
        while instances:
            await asyncio.sleep(0)
        assert counts == counted
        one.close()

    asyncio.run(asyncio.wait_for(run(), 150))
