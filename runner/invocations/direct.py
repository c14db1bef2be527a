"""A client of the gateway's direct listener (RUNTIME_DIR/invoke.sock): how the services reach instances.

Connections are kept per unit, because the gateway lends each to an instance of its unit; the one used last is
used first, so that as few as possible are warm. A request is sent a second time only where it is certain that
nobody has read it; whatever else is to be tried again is the queue's business.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from snapfork.runner.invocations.wire import Answer, TooMuch, Unreachable, Wire
from snapfork.runner.units import INVOCATION_HEADER, UNIT_HEADER

SOCKET = "invoke.sock"
LIMIT = 512
"""Connections per unit; further requests wait for one of them in their order."""
IDLE_S = 30.0
"""A silent connection is closed after this, well before the gateway would do it (75 s)."""
MAX_BODY = 64 << 20
PATIENCE_S = 5.0
"""How long a listener that is not there is waited for: the gateway opens it while the services start."""
RETRY_S = 0.02
_OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "expect", "keep-alive", "upgrade"}
)


class Stream:
    """An answer that comes in pieces: iterate it to the end, or `close` it."""

    def __init__(self, client: DirectClient, unit: str, wire: Wire, answer: Answer) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._client = client
        self._unit = unit
        self._wire: Wire | None = wire

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while self._wire is not None and (piece := await self._wire.read()):
                yield piece
        finally:
            self.close()

    async def read(self, limit: int) -> bytes:
        """All of it. Raises TooMuch beyond `limit` bytes."""
        pieces, size = [], 0
        async for piece in self:
            size += len(piece)
            if size > limit:
                self.close()
                raise TooMuch(f"The answer has more than {limit} bytes.")
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Give the connection back; one whose answer was not read whole is dropped."""
        if self._wire is not None:
            self._client._give_back(self._unit, self._wire)
            self._wire = None


class _Pool:
    """The connections of one unit."""

    __slots__ = ("idle", "open", "waiters")

    def __init__(self) -> None:
        self.idle: list[Wire] = []
        self.open = 0
        self.waiters: deque[asyncio.Future[Wire | None]] = deque()


class DirectClient:
    """See the module. `path` of the socket, `limit` connections per unit, `patience` seconds for it to be
    there. Belongs to one event loop."""

    def __init__(self, path: str, limit: int = LIMIT, patience: float = PATIENCE_S) -> None:
        self._path = path
        self._limit = limit
        self._patience = patience
        self._pools: dict[str, _Pool] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def request(
        self,
        unit: str,
        invocation: str,
        *,
        method: str = "POST",
        target: str = "/invoke",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float | None = None,
        limit: int = MAX_BODY,
    ) -> Answer:
        """The answer of an instance of `unit`, or the gateway's in its place.

        invocation: the context as JSON in ASCII. timeout: seconds in all, waiting for a connection included;
        at its end, as when the caller is cancelled, the connection is dropped. Raises Unreachable,
        TimeoutError, TooMuch (an answer above `limit` bytes), ValueError (a header that cannot be one).
        """
        data = _request(unit, invocation, method, target, headers, body)
        if timeout is None:
            return await self._request(unit, data, limit, method == "HEAD")
        async with asyncio.timeout(timeout):
            return await self._request(unit, data, limit, method == "HEAD")

    async def _request(self, unit: str, data: bytes, limit: int, head: bool) -> Answer:
        wire, answer = await self._exchange(unit, lambda wire: wire.send(data, limit, head, False))
        self._give_back(unit, wire)
        return answer

    async def stream(
        self,
        unit: str,
        invocation: str,
        *,
        method: str = "POST",
        target: str = "/invoke",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float | None = None,
    ) -> Stream:
        """As `request`, but returns with the head of the answer, and `timeout` is until then."""
        data = _request(unit, invocation, method, target, headers, body)

        async def begun(wire: Wire) -> Answer:
            async with asyncio.timeout(timeout):
                return await wire.send(data, 0, method == "HEAD", True)

        return Stream(self, unit, *await self._exchange(unit, begun))

    async def _exchange(self, unit: str, send: Callable[[Wire], Awaitable[Answer]]) -> tuple[Wire, Answer]:
        """What `send` gives, with the connection, which is to be given back; another is tried where a kept
        one was closed before anybody read from it."""
        while True:
            wire = await self._acquire(unit)
            used = wire.served > 0
            try:
                return wire, await send(wire)
            except BaseException as error:
                self._give_back(unit, wire)
                if not (isinstance(error, Unreachable) and used and error.untouched):
                    raise

    async def close(self) -> None:
        """Drop all connections; requests under way fail."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for pool in self._pools.values():
            for wire in pool.idle:
                wire.abort()
            for waiter in pool.waiters:
                if not waiter.done():
                    waiter.set_exception(Unreachable("The client is closed.", True))

    def connections(self, unit: str) -> int:
        """How many connections of a unit are open."""
        pool = self._pools.get(unit)
        return pool.open if pool else 0

    # -- the pool ----------------------------------------------------------------------------------------

    async def _acquire(self, unit: str) -> Wire:
        if self._closed:
            raise Unreachable("The client is closed.", True)
        pool = self._pools.get(unit)
        if pool is None:
            pool = self._pools[unit] = _Pool()
        while True:
            while pool.idle:
                wire = pool.idle.pop()
                if not wire.closed:
                    return wire
            if pool.open < self._limit:
                return await self._connect(pool)
            waiter: asyncio.Future[Wire | None] = asyncio.get_running_loop().create_future()
            pool.waiters.append(waiter)
            try:
                given = await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled() and (late := waiter.result()) is not None:
                    self._give_back(unit, late)
                raise
            if given is not None and not given.closed:
                return given

    async def _connect(self, pool: _Pool) -> Wire:
        loop = asyncio.get_running_loop()
        pool.open += 1
        made: list[Wire] = []

        def wire() -> Wire:
            made.append(Wire(loop, lambda _wire: self._left(pool)))
            return made[0]

        try:
            connected = await self._reach(loop, wire)
        except BaseException as error:
            if not made or not made[0].closed:
                self._left(pool)
            if isinstance(error, OSError):
                said = f"The gateway's direct listener cannot be reached ({error.strerror or error})."
                raise Unreachable(said, True) from None
            raise
        if self._sweeping is None:
            self._sweeping = loop.call_later(IDLE_S / 3, self._sweep)
        return connected

    async def _reach(self, loop: asyncio.AbstractEventLoop, wire: Callable[[], Wire]) -> Wire:
        until = loop.time() + self._patience
        while True:
            try:
                return (await loop.create_unix_connection(wire, self._path))[1]
            except (ConnectionRefusedError, FileNotFoundError):
                if loop.time() >= until or self._closed:
                    raise
            await asyncio.sleep(RETRY_S)

    def _left(self, pool: _Pool) -> None:
        """A connection is gone: somebody who waits may open another."""
        pool.open -= 1
        self._pass_on(pool, None)

    def _give_back(self, unit: str, wire: Wire) -> None:
        if not wire.reusable or self._closed:
            if not wire.closed:
                wire.abort()
            return
        pool = self._pools[unit]
        if not self._pass_on(pool, wire):
            pool.idle.append(wire)

    def _pass_on(self, pool: _Pool, wire: Wire | None) -> bool:
        while pool.waiters:
            waiter = pool.waiters.popleft()
            if not waiter.done():
                waiter.set_result(wire)
                return True
        return False

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        late = loop.time() - IDLE_S
        for unit, pool in list(self._pools.items()):
            for wire in pool.idle:
                if wire.idle_since < late:
                    wire.abort()
            pool.idle = [wire for wire in pool.idle if not wire.closed]
            if not pool.open and not pool.waiters:
                del self._pools[unit]
        self._sweeping = loop.call_later(IDLE_S / 3, self._sweep) if self._pools else None


def _request(
    unit: str, invocation: str, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes
) -> bytes:
    """The request's bytes. Raises ValueError for a line break or another character that cannot be sent."""
    lines = [f"{method} {target} HTTP/1.1", "", f"content-length: {len(body)}"]
    host = "localhost"
    for name, value in headers:
        lower = name.lower()
        if lower == "host":
            host = value
        elif lower not in _OURS and not lower.startswith("x-snapfork-"):
            lines.append(f"{lower}: {value}")
    lines[1] = f"host: {host}"
    lines.append(f"{UNIT_HEADER.decode()}: {unit}")
    lines.append(f"{INVOCATION_HEADER.decode()}: {invocation}")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1 or "\0" in text:
        raise ValueError("A header or the target holds a line break.")
    return text.encode("latin-1") + b"\r\n\r\n" + body
