"""The floor of our own client: a process that accepts, reads once and sends fixed bytes, nothing else.

Four system calls a request, under a loop of a few bytecodes: what is measured against it is the client, the
loopback interface and the scheduler.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from snapfork.runner.bench.client import Address, Kept, once

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n"


@contextmanager
def responder() -> Iterator[Address]:
    """The address of a responder in a process of its own, which serves one connection at a time."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        pid = os.fork()
        if pid == 0:
            _serve(listener)
        try:
            yield listener.getsockname()
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _serve(listener: socket.socket) -> None:
    try:
        while True:
            sock, _ = listener.accept()
            # A client whose time is over resets its connection, and the next one is served.
            with sock, contextlib.suppress(ConnectionError):
                while sock.recv(65536):
                    sock.sendall(ANSWER)
    except BaseException:  # a fork of the caller must never run on in its code
        os._exit(1)


def floor(count: int) -> dict[str, list[float]]:
    """Milliseconds to the first byte: {"new connection": [...], "kept connection": [...]}."""
    with responder() as address:
        once(address)
        new = [once(address).ms for _ in range(count)]
        with Kept(address) as kept:
            kept.ask()
            same = [kept.ask().ms for _ in range(count)]
    return {"new connection": new, "kept connection": same}
