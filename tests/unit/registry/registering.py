"""What the registry's tests share: zips, configurations, and a gateway that keeps what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import io
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from snapfork.runner.registry.environments import Environments
from snapfork.runner.registry.model import Configuration
from snapfork.runner.registry.operations import Operations, Site
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.places import places
from snapfork.runner.registry.store import Store
from snapfork.runner.units import Unit, UnitRoute

EVENT = {"index.py": "def handler(event, context):\n    return event\n"}
CONFIGURATION = Configuration("index.handler", "python3", 3.0, 128, "lambda")


def zip_of(files: Mapping[str, str | bytes] = EVENT) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return raw.getvalue()


def code(number: int) -> bytes:
    """A zip that differs from those of other numbers."""
    return zip_of({"index.py": f"NUMBER = {number}\n\ndef handler(event, context):\n    return NUMBER\n"})


def configured(**changes: Any) -> Configuration:
    return replace(CONFIGURATION, **changes)


class FakeGateway:
    """The desk's side of `operations.Gateway`: what was told, in order, and units that come up when allowed.

    `lost`: requests that would have found no unit at some moment, by the rules of the real one.
    """

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}
        self.table: list[UnitRoute] = []
        self.log: list[tuple[str, Any]] = []
        self.cold: set[str] = set()
        self.broken: set[str] = set()
        self.status_of: dict[str, dict[str, Any]] = {}
        self.down = False
        self.may_come_up = asyncio.Event()
        self.may_come_up.set()

    async def put(self, units: list[Unit], drop: list[str]) -> None:
        self._answer()
        for unit in units:
            self.units[unit.name] = Unit.of(unit.as_dict())
        for name in drop:
            assert all(name != unit for route in self.table for unit, _ in route.choices), (
                "a routed unit dropped"
            )
            del self.units[name]
        self.log.append(("put", ([unit.name for unit in units], drop)))

    async def routes(self, routes: list[UnitRoute]) -> None:
        self._answer()
        for route in routes:
            for unit, _ in route.choices:
                assert unit in self.units, "a route to a unit that was never put"
        self.table = [UnitRoute.of(route.as_dict()) for route in routes]
        self.log.append(("routes", len(routes)))

    async def wait(self, unit: str, timeout: float) -> dict[str, Any]:
        self._answer()
        self.log.append(("wait", unit))
        if unit in self.broken:
            raise RuntimeError("it does not start")
        await self.may_come_up.wait()
        return {"interface": "event", "mode": "fork", "init_ms": 1.0, "restored": False}

    async def status(self) -> dict[str, dict[str, Any]]:
        self._answer()
        return self.status_of

    async def provision(self, unit: str, minimum: int) -> None:
        self._answer()
        self.units[unit] = replace(self.units[unit], minimum=minimum)
        self.log.append(("provision", (unit, minimum)))

    def _answer(self) -> None:
        if self.down:
            raise ConnectionError("The gateway is gone.")

    def route(self, prefix: str, host: str | None = None) -> UnitRoute:
        return next(one for one in self.table if one.prefix == prefix and one.host == host)

    def choices(self, prefix: str) -> dict[str, float]:
        return dict(self.route(prefix).choices)


@contextlib.asynccontextmanager
async def registry(
    directory: Path, gateway: FakeGateway | None = None, site: Site | None = None, **more: Any
) -> AsyncIterator[tuple[Operations, FakeGateway]]:
    """Operations over a data directory, started; closed at the end, so that it can be opened again."""
    store = Store(directory)
    where = places(directory)
    environments = more.pop("environments", None) or Environments(where)
    gateway = gateway or FakeGateway()
    operations = Operations(store, Packages(where), environments, gateway, site, **more)
    try:
        await operations.start()
        yield operations, gateway
    finally:
        await operations.close()
        store.close()
