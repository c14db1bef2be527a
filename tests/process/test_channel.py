"""The gateway's control sockets: nothing that was sent is lost, whatever the other side does next."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest
import uvloop
from snapfork.runner.gateway.channel import Channel
from snapfork.runner.wire import fds


class Listener:
    """Keeps what a channel hears; `ended` is set at EOF."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.fds: list[int] = []
        self.ended = asyncio.Event()

    def message(self, view: memoryview, received: list[int]) -> None:
        self.heard.append(bytes(view))
        self.fds += received


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()


def channel(loop: asyncio.AbstractEventLoop) -> tuple[Channel, Listener, socket.socket]:
    ours, theirs = fds.pair()
    listener = Listener()
    return Channel(loop, ours, listener.message, listener.ended.set), listener, theirs


def test_what_was_sent_before_a_close_with_unread_messages_arrives(loop: asyncio.AbstractEventLoop) -> None:
    ours, listener, theirs = channel(loop)
    ours.send(b"never read")
    theirs.send(b"one")
    theirs.send(b"two")
    theirs.close()  # with a message unread: the kernel answers with ECONNRESET first
    loop.run_until_complete(asyncio.wait_for(listener.ended.wait(), 150))
    assert listener.heard == [b"one", b"two"]
    ours.close()


def test_messages_and_descriptors_wait_for_room_in_order(loop: asyncio.AbstractEventLoop) -> None:
    ours, _, theirs = channel(loop)
    read, write = os.pipe()
    count = 2000
    for number in range(count):
        ours.send(b"%d" % number + b"." * 1000, (read,) if number % 500 == 0 else ())

    got: list[int] = []
    passed: list[int] = []

    async def take() -> None:
        buffer = bytearray(4096)
        while len(got) < count:
            try:
                size, received = fds.receive(theirs, buffer, socket.MSG_DONTWAIT)
            except BlockingIOError:
                await asyncio.sleep(0)
                continue
            got.append(int(bytes(buffer[:size]).partition(b".")[0]))
            passed.extend(received)

    loop.run_until_complete(asyncio.wait_for(take(), 150))
    assert got == list(range(count))
    assert len(passed) == 4
    fds.close_all([*passed, read, write])
    ours.close()
    theirs.close()


def test_eof_is_told_once(loop: asyncio.AbstractEventLoop) -> None:
    ours, listener, theirs = channel(loop)
    theirs.close()
    loop.run_until_complete(asyncio.wait_for(listener.ended.wait(), 150))
    assert not ours.is_open
    ours.send(b"into the void")
    ours.close()
