"""Running one invocation now, through the gateway's direct listener, and saying what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from snapfork.runner.invocations.model import Invocation, Result
from snapfork.runner.registry.model import Resolved


class Resolver(Protocol):
    """What the invoker needs of registry.operations."""

    def resolve(self, name: str, qualifier: str, draw: Callable[[], float]) -> Resolved: ...


class Units(Protocol):
    """What the invoker needs of the gateway: `unit_wait`."""

    async def wait(self, unit: str, timeout: float) -> Mapping[str, Any]: ...


class Logs(Protocol):
    """What the invoker needs of telemetry: the last 4 KB of an invocation's log lines."""

    async def tail(self, request_id: str) -> bytes: ...


@dataclass
class Streaming:
    """A result that comes in pieces. Iterate `chunks` to the end, then `result` says how it went (its payload
    is empty, or the error's JSON). status and headers are the app's (web functions) or the prelude's."""

    status: int
    headers: tuple[tuple[str, str], ...]
    chunks: AsyncIterator[bytes]
    result: Result | None = field(default=None)


class Invoker:
    """See the module. `direct` is a direct.DirectClient, `clock` seconds since the epoch."""

    def __init__(
        self, operations: Resolver, gateway: Units, direct: Any, clock: Callable[[], float], telemetry: Logs
    ) -> None:
        raise NotImplementedError

    async def invoke(self, invocation: Invocation, tail: bool = False) -> Result:
        """Run it and wait for its end. tail: with the last 4 KB of its log.

        Never raises for what the function did. Raises registry.errors: Throttled (concurrency is used up),
        Disabled, NotFound (kind "function", "version" or "alias").
        """
        raise NotImplementedError

    async def stream(self, invocation: Invocation) -> Streaming:
        """Run it; the answer comes as it is written. Raises as `invoke` does."""
        raise NotImplementedError

    def unit_event(self, event: Mapping[str, Any]) -> None:
        """The gateway's event "unit": keeps what is known of the unit's interface."""
        raise NotImplementedError
