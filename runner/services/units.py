"""What the registry and the invoker ask of the gateway about units, over the line to it."""

from __future__ import annotations

from typing import Any

from snapfork.runner.services.link import GatewayLink
from snapfork.runner.units import Unit, UnitRoute

CHANGE_S = 30.0
"""The gateway answers at once; it may be busy for a moment where hundreds of units change together."""
GRACE_S = 5.0


class GatewayUnits:
    """registry.core.Gateway and invocations.invoker.Units. All raise GatewayError."""

    def __init__(self, link: GatewayLink) -> None:
        self._link = link

    async def put(self, units: list[Unit], drop: list[str]) -> None:
        await self._link.ask("units", CHANGE_S, put=[one.as_dict() for one in units], drop=drop)

    async def routes(self, routes: list[UnitRoute]) -> None:
        await self._link.ask("routes", CHANGE_S, routes=[one.as_dict() for one in routes])

    async def wait(self, unit: str, timeout: float) -> dict[str, Any]:
        answer: dict[str, Any] = await self._link.ask(
            "unit_wait", timeout + GRACE_S, unit=unit, timeout=timeout
        )
        return answer

    async def status(self) -> dict[str, dict[str, Any]]:
        answer: dict[str, dict[str, Any]] = await self._link.ask("unit_status", CHANGE_S)
        return answer

    async def provision(self, unit: str, minimum: int) -> None:
        await self._link.ask("provision", CHANGE_S, unit=unit, minimum=minimum)
