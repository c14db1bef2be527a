"""Has the gateway follow the registry, in an order in which no request is lost.

A pass compares what the registry implies with what the gateway was told:

1. New and changed units are put. A changed one is a reload, which the gateway does without losing a request;
   where the old code is up, the change is in force once the new one is.
2. Routes are told. One that would move requests to a unit that is not there or has not been up yet keeps its
   old choices, as long as those exist, until that unit is up, has failed to come up, or has had its time.
   Where nothing can be called yet the gateway says so.
3. Units that are not in the registry any more, and that no route told leads to, are dropped: they drain.

Passes follow each other as long as there is something to do; a gateway that does not answer is asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import replace

from snapfork.runner.registry.core import Gateway, Site
from snapfork.runner.registry.http_addresses import Addresses, HttpOwner
from snapfork.runner.registry.units import Deduction
from snapfork.runner.units import Unit, UnitRoute

RouteKey = tuple[str | None, str, bool, tuple[str, ...]]
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
PATIENCE = 1.0
"""Seconds that a pass waits for packages to be unpacked before it goes on with the rest."""


class Reconciler:
    """Started once; `follow` after each change. failed: units that cannot be served, with one sentence.
    problem: why the last pass did not get through, "" if it did."""

    def __init__(self, deduction: Deduction, addresses: Addresses, gateway: Gateway, site: Site) -> None:
        self.failed: dict[str, str] = {}
        self.problem = ""
        self._deduction = deduction
        self._addresses = addresses
        self._gateway = gateway
        self._site = site
        self._told: dict[str, Unit] = {}
        self._routes: list[UnitRoute] = []
        self._followed: list[HttpOwner] | None = None
        self._up: set[tuple[str, str]] = set()
        self._warming: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._unready: set[str] = set()
        self._wanted = 0
        self._settled = 0
        self._passed = 0
        self._woken = asyncio.Event()
        self._progress = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        tasks = [*self._warming.values(), *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._task = None
        await self._deduction.close()

    def wake(self) -> None:
        """Something has changed."""
        self._wanted += 1
        self._woken.set()

    async def follow(self) -> None:
        """Wake, and wait until all that was asked for so far is in force, or Site.settle seconds."""
        self.wake()
        if self._task is None:
            return
        mine = self._wanted
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._site.settle), self._progress:
                await self._progress.wait_for(lambda: self._settled >= mine)

    async def put_as_wanted(self, name: str) -> tuple[Unit | None, str]:
        """The unit of that name as the gateway knows it once it has been told of all changes until now, and
        why there is none."""
        self.wake()
        mine = self._wanted
        async with self._progress:
            await self._progress.wait_for(lambda: self._passed >= mine and name not in self._unready)
        problem = self.failed.get(name, "")
        return (None if problem else self._told.get(name)), problem

    def forget(self) -> None:
        """What was told is not known any more."""
        self._told, self._routes, self._up, self._followed = {}, [], set(), None

    # -- passes -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await self._woken.wait()
            self._woken.clear()
            wanted = self._wanted
            try:
                await self._pass()
            except Exception as error:  # the gateway is busy or gone; all of it is told again
                self.problem = f"{type(error).__name__}: {error}"
                self.forget()
                self._woken.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            pause, self.problem = FIRST_PAUSE, ""
            async with self._progress:
                self._passed = wanted
                if not self._warming and not self._unready:
                    self._settled = wanted
                self._progress.notify_all()

    async def _pass(self) -> None:
        waiting = await self._deduction.prepare(PATIENCE, self._woken.set)
        self.failed, self._unready = waiting.failed, waiting.going_on
        units = {unit.name: unit for unit in self._deduction.units()}
        for name in waiting.going_on | waiting.failed.keys():
            if name in self._told:  # goes on as it is
                units[name] = self._told[name]
        # From here to the routes nothing is awaited but the gateway, which sees units before their routes.
        owners = self._addresses.owners()
        await self._put(units)
        if owners is not self._followed:
            wished = [owner.route for owner in owners]
            routes = self._hold_back(wished, units)
            if routes != self._routes:
                await self._gateway.routes(routes)
                self._routes = routes
            self._followed = owners if routes == wished else None
        routes = self._routes
        routed = {unit for route in routes for unit, _ in route.choices}
        gone = [name for name in self._told if name not in units and name not in routed]
        if gone:
            await self._gateway.put([], gone)
            for name in gone:
                del self._told[name]
        self._up &= {(unit.name, unit.revision) for unit in units.values()}

    async def _put(self, units: dict[str, Unit]) -> None:
        changed, minimums = [], []
        for name, unit in units.items():
            told = self._told.get(name)
            if told is None or told.revision != unit.revision:
                changed.append(unit)
            elif told.minimum != unit.minimum:
                minimums.append(unit)
        if changed:
            await self._gateway.put(changed, [])
            reloads = [unit for unit in changed if unit.name in self._told]
            self._told.update((unit.name, unit) for unit in changed)
            if reloads:
                await self._watch(reloads)
        for unit in minimums:
            await self._gateway.provision(unit.name, unit.minimum)
            self._told[unit.name] = unit

    async def _watch(self, reloads: list[Unit]) -> None:
        """Units that serve what they had until the new code is up are followed until then: whoever was told
        of a change is to meet it. Those that are cold get the new code anyway, and stay cold."""
        status = await self._gateway.status()
        for unit in reloads:
            one = (unit.name, unit.revision)
            if status.get(unit.name, {}).get("state") == "ready" and one not in self._warming:
                self._warming[one] = asyncio.create_task(self._warm(one))

    def _hold_back(self, wished: Iterable[UnitRoute], units: dict[str, Unit]) -> list[UnitRoute]:
        before = {_key(route): route for route in self._routes}
        routes = []
        for route in wished:
            old = before.get(_key(route))
            complete = all(unit in units for unit, _ in route.choices)
            if old is not None and self._can_stay(old) and (not complete or self._cold(route, old, units)):
                routes.append(replace(route, choices=old.choices))
            else:
                routes.append(route if complete else replace(route, choices=()))
        return routes

    def _cold(self, route: UnitRoute, old: UnitRoute, units: dict[str, Unit]) -> bool:
        """Whether a route moves to a unit that has to come up first; it is then on its way."""
        has = {unit for unit, _ in old.choices}
        new = {unit for unit, weight in route.choices if unit not in has and weight > 0}
        cold = [(name, units[name].revision) for name in new if (name, units[name].revision) not in self._up]
        for one in cold:
            if one not in self._warming:
                self._warming[one] = asyncio.create_task(self._warm(one))
        return bool(cold)

    def _can_stay(self, old: UnitRoute) -> bool:
        return bool(old.choices) and all(unit in self._told for unit, _ in old.choices)

    async def _warm(self, one: tuple[str, str]) -> None:
        """Wait until a unit is up; one that does not come up gets its requests all the same, as was asked."""
        try:
            with contextlib.suppress(Exception):
                await self._gateway.wait(one[0], self._site.warm)
            self._up.add(one)
        finally:
            self._warming.pop(one, None)
            self._woken.set()


def _key(route: UnitRoute) -> RouteKey:
    return route.host, route.prefix, route.exact, route.methods
