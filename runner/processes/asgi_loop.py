"""Serving loans with an ASGI app on an event loop that is made after the fork."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from snapfork.runner.processes.access import AccessLog
from snapfork.runner.processes.asgi_exchange import complain
from snapfork.runner.processes.asgi_host import Host
from snapfork.runner.processes.asgi_noted import NotedHost
from snapfork.runner.processes.link import Link, Loan, Private
from snapfork.runner.processes.loops import new_loop
from snapfork.runner.wire.page import private_page

if TYPE_CHECKING:
    from snapfork.runner.processes.lifespan import Lifespan
    from snapfork.runner.processes.serving import Served

SHUTDOWN_TIMEOUT = 10.0
"""Seconds that shutdown code of a per-instance lifespan may take."""


def run(
    served: Served,
    link: Link,
    first: Loan | None,
    lifespan: Lifespan | None,
    loop: asyncio.AbstractEventLoop | None = None,
    begin: Callable[[asyncio.AbstractEventLoop], None] | None = None,
    end: Callable[[asyncio.AbstractEventLoop], None] | None = None,
) -> None:
    """Serve until the gateway is gone, or this process leaves and nothing is left to serve.

    With `lifespan` start-up code runs here first, and shutdown code before the return. Raises LifespanFailed
    when start-up fails; `first` is then still in `link.loans`. `begin` and `end` are called after start-up
    and before shutdown, while the loop stands.
    """
    loop = loop or new_loop()
    asyncio.set_event_loop(loop)
    if lifespan is not None:
        loop.run_until_complete(lifespan.startup())
    if begin is not None:
        begin(loop)
    link.ready()

    def on_quiet() -> None:
        if link.closed or link.leave_level():
            loop.stop()

    host = (Host if served.ledger is None else NotedHost)(served, link, loop, on_quiet)
    loop.add_reader(link.fd, host.on_link)
    if first is not None:
        host.attach(first)
    host.on_link()
    loop.run_forever()
    loop.remove_reader(link.fd)
    host.close()
    if end is not None:
        end(loop)
    if lifespan is not None and not link.closed:
        _shut_down(loop, lifespan)


def _shut_down(loop: asyncio.AbstractEventLoop, lifespan: Lifespan) -> None:
    try:
        loop.run_until_complete(asyncio.wait_for(lifespan.shutdown(), SHUTDOWN_TIMEOUT))
    except TimeoutError:
        complain(f"The app's shutdown code did not end within {SHUTDOWN_TIMEOUT:.0f} s")
    except Exception as error:
        complain("The app's shutdown code failed", error)


async def private(served: Served, raw: bytes) -> bytes:
    """Send one raw request to the app, over a socket pair and the code that serves clients.

    Returns the raw response when the app's call has returned; empty if the request is not this function's.
    """
    loop = asyncio.get_running_loop()
    client, server = socket.socketpair()
    client.setblocking(False)
    server.setblocking(False)
    lender = Private(private_page())
    link = lender.link
    quiet = asyncio.Event()
    host = Host(served, link, loop, quiet.set)
    host.access = AccessLog()
    try:
        lender.lend(raw, server)
        for loan in link.receive():
            host.attach(loan)
        response = bytearray()
        while data := await loop.sock_recv(client, 65536):
            response += data
        await quiet.wait()
    finally:
        client.close()
        await host.end()
        lender.close()
    return bytes(response)
