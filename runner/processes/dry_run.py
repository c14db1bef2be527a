"""An instance's whole course, run in its template with a stub in the app's place.

CPython specialises a function's code after some eight calls, for the classes that it meets there, and caches
look-ups. Where the template has done what an instance will do, the instance does not pay for it: each look-up
writes to three or four pages of the template, and every first write in an instance copies the page.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from snapfork.runner.processes import instance, stdio, warmup
from snapfork.runner.processes.access import AccessLog
from snapfork.runner.processes.load import Loaded
from snapfork.runner.processes.serving import Served
from snapfork.runner.wire import fds, frames, page

if TYPE_CHECKING:
    from snapfork.runner.processes.link import Link

RUNS, MORE = 12, 2
"""How often: a template whose base has done it needs only its own look-ups."""
_NOWHERE = {"access_log": "off", "setup": {"access": -1}, "function": "-"}


def repeat(served: Served, runs: int) -> None:
    """Be an instance of `served` so many times, on descriptors of no use. The app is not called."""
    stub = _with_stub(served)
    prepared = instance.Prepared(_NOWHERE, Loaded(None, served.interface, stub.settings, {}, "-"), stub)
    instance.look_up(prepared)
    ours = os.dup(1)
    for _ in range(runs):
        _once(prepared, warmup.own_request(served))
    stdio.install(ours)


def _with_stub(served: Served) -> Served:
    """What the function's instances know, and limits that do not concern a template."""
    return Served(
        warmup.stub(served.interface),
        served.interface,
        {**served.settings, "max_requests": None, "memory": None},
        served.function,
        served.routes,
        served.trusted,
        AccessLog(),
        served.boot_id,
    )


def _once(prepared: instance.Prepared, raw: bytes) -> None:
    control, gateway = fds.pair()
    client, server = socket.socketpair()
    read, write = os.pipe2(os.O_CLOEXEC)
    server.setblocking(False)
    addresses = frames.pack_addresses(("127.0.0.1", 1), ("127.0.0.1", 80))
    lent = frames.LoanFrame(frames.FORK, True, 0, 0, 1, time.monotonic_ns(), addresses, raw)
    start = frames.StartFrame(frames.FORK, False, 2, 1, 0, 0, frames.pack_loan(lent))
    received = [control.detach(), page.make_page(2), write, server.detach()]
    link = instance.begin(prepared, frames.unpack_start(memoryview(frames.pack_start(start))), received)
    if prepared.served.interface == "asgi":
        _serve_asgi(prepared.served, link, start, received[3], gateway)
    elif prepared.served.settings["concurrency"] == 1:
        gateway.shutdown(socket.SHUT_WR)  # the loop ends once the loan is given back
        instance.serve(prepared, link, start, received)
    else:  # its threads are not for a template
        link.ready()
        os.close(received[3])
    for one in (link.sock, gateway, client):
        one.close()
    if link.guard is not None:
        link.guard.close()
    os.close(read)
    page.unmap(link.page.words)


def _serve_asgi(
    served: Served, link: Link, start: frames.StartFrame, connection: int, gateway: socket.socket
) -> None:
    import asyncio

    from snapfork.runner.processes import asgi_loop
    from snapfork.runner.processes.loops import new_loop

    loop = new_loop()

    def told() -> None:
        if gateway.recv(fds.MAX_MESSAGE)[0] == frames.RETURN:
            gateway.shutdown(socket.SHUT_WR)

    loop.add_reader(gateway.fileno(), told)
    first = link.accept(frames.unpack_loan(memoryview(start.loan)), connection)
    asgi_loop.run(served, link, first, None, loop)
    loop.remove_reader(gateway.fileno())
    loop.close()
    asyncio.set_event_loop(None)
