"""All deployed units of one gateway, and the operations by which the services process rules over them."""

from __future__ import annotations

import asyncio
import math
import os
import resource
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from snapfork.runner.gateway.deployed import BUILD_DESCRIPTORS, Deployed
from snapfork.runner.gateway.desk import Handler
from snapfork.runner.gateway.kits import has_room
from snapfork.runner.gateway.stock import Bases
from snapfork.runner.policy.retirement import Warm, retirees
from snapfork.runner.units import Unit, UnitRoute

if TYPE_CHECKING:
    from snapfork.runner.gateway.bases import Base, OnFrame
    from snapfork.runner.gateway.core import Core
    from snapfork.runner.gateway.door import FrontDoor
    from snapfork.runner.gateway.function import Function
    from snapfork.runner.gateway.pool import Pool

LOOK_EVERY_NS = 10**9
DESCRIPTORS = 0.5
"""The part of the gateway's descriptors that units at rest may hold; clients need some, too."""


class Units:
    """`pools` is the table that requests are routed with; those of dropped units leave it at once."""

    def __init__(
        self,
        core: Core,
        door: FrontDoor,
        pools: dict[str, Pool],
        bases: Bases,
        on_frame: OnFrame,
        tell: Callable[[dict[str, Any]], object],
    ) -> None:
        self._core = core
        self._door = door
        self._pools = pools
        self._bases = bases
        self._on_frame = on_frame
        self._tell = tell
        self.all: dict[str, Deployed] = {}
        self.leaving: list[Deployed] = []
        self._looked_ns = 0
        self._budget = core.config.template_memory or _quarter_of_memory()
        self._descriptors = DESCRIPTORS * resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._stocked = False

    def handlers(self) -> dict[str, Handler]:
        """The operations of the desk."""
        return {
            "units": self._change,
            "routes": self._route,
            "unit_wait": self._wait,
            "unit_status": lambda _: {name: one.status() for name, one in self.all.items()},
            "provision": self._provision,
            "retire": self._retire,
        }

    # -- operations --------------------------------------------------------------------------------------

    def _change(self, message: dict[str, Any]) -> dict[str, Any]:
        puts = [Unit.of(data) for data in message.get("put", ())]
        for unit in puts:
            if ":" not in unit.name:
                raise ValueError(f"a unit is called FUNCTION:VERSION, not {unit.name!r}")
        for unit in puts:
            self._put(unit)
        for name in message.get("drop", ()):
            self._drop(str(name))
        self._door.refresh_limits()
        if message.get("drop"):
            self._tidy()
        return {}

    def _put(self, unit: Unit) -> None:
        known = self.all.get(unit.name)
        if known is not None:
            known.put(unit)
            return
        made = Deployed(
            self._core, self._door, unit, self._bases, self._on_frame, self._tell, self._built, self._scarce
        )
        self.all[unit.name] = made
        self._pools[unit.name] = made.pool
        if unit.minimum:
            made.need()
        self.stock()

    def stock(self) -> None:
        """Have a base with frameworks stand by, for functions that are deployed or will be."""
        if not self._stocked:
            self._stocked = True
            self._bases.stock_ahead()

    def _drop(self, name: str) -> None:
        gone = self.all.pop(name, None)
        if gone is not None:
            del self._pools[name]
            gone.drop()
            if not gone.is_gone():
                self.leaving.append(gone)
            self._door.answers.forget(name)

    def _route(self, message: dict[str, Any]) -> dict[str, Any]:
        routes = [UnitRoute.of(data) for data in message["routes"]]
        self._door.traffic.replace(routes, message.get("reserved"))
        return {}

    def _wait(self, message: dict[str, Any]) -> asyncio.Future[dict[str, Any]]:
        return self._find(message).wait(float(message.get("timeout") or 60.0))

    def _provision(self, message: dict[str, Any]) -> dict[str, Any]:
        self._find(message).provide(max(0, int(message["minimum"])))
        return {}

    def _retire(self, message: dict[str, Any]) -> dict[str, Any]:
        self._find(message).retire()
        return {}

    def _find(self, message: dict[str, Any]) -> Deployed:
        name = str(message.get("unit"))
        if name not in self.all:
            raise LookupError(f"there is no unit {name!r}")
        return self.all[name]

    # -- what happens ------------------------------------------------------------------------------------

    def _built(self, one: Deployed) -> None:
        self._door.refresh_limits()
        self._keep_to_budget()

    def _keep_to_budget(self, descriptors: float = math.inf) -> None:
        warm = [
            Warm(one.name, one.size, one.used_ns, one.is_held, one.descriptors)
            for one in self.all.values()
            if one.is_up
        ]
        for name in retirees(warm, self._budget, min(descriptors, self._descriptors)):
            self.all[name].retire()

    def _scarce(self) -> None:
        """There are too few descriptors for one more: let go of some that are at rest."""
        for one in self.all.values():
            one.pool.spare_descriptors()
        if not has_room(2 * BUILD_DESCRIPTORS):
            open_now = sum(one.descriptors for one in self.all.values() if one.is_up)
            self._keep_to_budget(max(0, open_now - 2 * BUILD_DESCRIPTORS))

    def base_died(self, base: Base) -> None:
        """Templates that were to come from it do not."""
        for one in (*self.all.values(), *self.leaving):
            one.function.base_died(base)

    def tick(self, now: int) -> None:
        """Ten times a second; most of it is done once a second."""
        self.leaving = [one for one in self.leaving if not one.is_gone()]
        if now - self._looked_ns < LOOK_EVERY_NS:
            return
        self._looked_ns = now
        for one in self.all.values():
            if one.is_up or one.function.building is not None or one.pool.minimum:
                one.look(now)
        self._keep_to_budget()

    def functions(self) -> list[Function]:
        """Those that have been called, for the status."""
        return [one.function for one in self.all.values() if one.state != "cold" or one.pool.generation]

    def pools(self) -> list[Pool]:
        """Those that have or may get instances, of units that leave, too."""
        return [one.pool for one in (*self.all.values(), *self.leaving)]

    def _tidy(self) -> None:
        self._bases.tidy(
            config
            for one in (*self.all.values(), *self.leaving)
            for config in (one.wanted, one.function.config)
        )


def _quarter_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
