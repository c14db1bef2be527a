"""What the tests of invocations share: a registry of a few functions, a clock, an invoker that obeys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from snapfork.runner.invocations.model import Invocation, Result
from snapfork.runner.registry.errors import NotFound
from snapfork.runner.registry.model import AsyncConfig, Configuration, Dialect, Function, Resolved, Version


class Clock:
    """Seconds since the epoch, as the test says."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Registry:
    """Functions by name, with how they run asynchronously."""

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {}
        self.versions: dict[str, Version] = {}
        self.configs: dict[str, AsyncConfig] = {}

    def add(
        self, name: str, dialect: Dialect = "lambda", *, reserved: int | None = None, **config: Any
    ) -> None:
        self.functions[name] = Function(name, dialect, 0.0, reserved=reserved)
        configuration = Configuration("app.main:handler", "python3", 3.0, 128, dialect)
        self.versions[name] = Version(name, "LATEST", configuration, "x", 1, "r", 0.0, 0.0)
        base = AsyncConfig(name, "", 2, (60.0, 120.0), 6 * 3600.0)
        self.configs[name] = replace(base, **config)

    async def wait_runnable(self, name: str, number: str, limit: float, done: bool = False) -> None:
        """What is pending stays so."""

    def resolve(self, name: str, qualifier: str = "", draw: Callable[[], float] | None = None) -> Resolved:
        if name not in self.functions:
            raise NotFound(f"There is no function {name}.", "function", name)
        return Resolved(self.functions[name], self.versions[name], qualifier, f"{name}:LATEST")

    def async_policy(self, name: str, qualifier: str = "") -> AsyncConfig:
        self.resolve(name)
        return self.configs[name]

    def subscribe(self, told: Callable[[str, str], None]) -> None:
        """Nothing ever changes here."""


class Obedient:
    """An invoker that does what `act` says, and keeps what it was given."""

    def __init__(self, act: Callable[[Invocation], Awaitable[Result]] | None = None) -> None:
        self.act = act
        self.seen: list[Invocation] = []

    async def invoke(self, invocation: Invocation, tail: bool = False) -> Result:
        self.seen.append(invocation)
        if self.act is None:
            await asyncio.sleep(0)
            return Result(b"null", version="LATEST")
        return await self.act(invocation)


def invocation(number: object, function: str = "f", payload: bytes = b"{}", **more: Any) -> Invocation:
    return Invocation(f"id-{number}", function, more.pop("qualifier", ""), payload, **more)


async def until(condition: Callable[[], Any], what: str = "it") -> None:
    """Let the loop turn until `condition()`; the test's own timeout ends what never comes true."""
    while not condition():
        await asyncio.sleep(0.001)
