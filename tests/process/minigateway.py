"""A gateway in miniature for tests: one forked instance, loans over real sockets, and what it gives back."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Self

from snapfork.runner.processes.link import KEEP, WARM, Link
from snapfork.runner.wire import fds, frames, page
from snapfork.runner.wire.guard import Guard, reopen

SLOTS = 40
GENERATION = 1
PATIENCE = 150.0


class Client:
    """The client's end of a lent connection, with a small response reader."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.rest = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def until(self, mark: bytes) -> bytes:
        """Read up to and including `mark`."""
        while mark not in self.rest:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(self.rest)
            self.rest += data
        found, _, self.rest = self.rest.partition(mark)
        return found + mark

    def exactly(self, size: int) -> bytes:
        pieces, have = [self.rest], len(self.rest)
        while have < size:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(b"".join(pieces))
            pieces.append(data)
            have += len(data)
        whole = b"".join(pieces)
        self.rest = whole[size:]
        return whole[:size]

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers (lower-case names) of the next response."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {}
        for line in lines[1:]:
            if line:
                name, _, value = line.partition(": ")
                assert name.lower() not in headers or name.lower() == "set-cookie", f"repeated {name}"
                headers[name.lower()] = value
        return status, headers

    def response(self, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """The next response: status, headers, decoded body."""
        status, headers = self.head()
        if head_only or status in (204, 304):
            return status, headers, b""
        return status, headers, self.body(headers)

    def body(self, headers: dict[str, str]) -> bytes:
        """The body behind a head that says its length."""
        if headers.get("transfer-encoding") != "chunked":
            return self.exactly(int(headers["content-length"]))
        body = b""
        while size := int(self.until(b"\r\n"), 16):
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"
        assert self.exactly(2) == b"\r\n"
        return body

    def everything(self) -> bytes:
        """All bytes up to the end of the connection."""
        pieces = [self.rest]
        self.rest = b""
        while data := self.sock.recv(65536):
            pieces.append(data)
        return b"".join(pieces)


class MiniGateway:
    """Forks an instance that runs `serve`, and plays the gateway to it.

    `serve` gets the instance's link; when it returns, the instance says bye. What the instance writes to
    standard error is kept, see `errors`.
    """

    def __init__(self, serve: Callable[[Link], None], *, unix: bool = False) -> None:
        self._set_up(unix)
        page_fd = page.make_page(SLOTS)
        self.words = page.map_words(page_fd)
        self.guard = Guard(page_fd)
        self.words[page.W_GENERATION] = GENERATION
        self.control, theirs = fds.pair()
        self.pid = os.fork()
        if self.pid == 0:
            self._child(serve, theirs)
        theirs.close()

    def _set_up(self, unix: bool) -> None:
        self.unix = unix
        self.number = 0
        self.slot = 0
        self.held: dict[int, socket.socket] = {}
        self.clients: list[Client] = []
        self.back: list[frames.ReturnFrame] = []
        self.is_ready = self.said_bye = False
        self.stderr = os.memfd_create("stderr")
        self.pid = 0
        if unix:
            path = f"\0snapfork-test-{os.getpid()}-{id(self)}"
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.listener.listen(64)
        else:
            self.listener = socket.create_server(("127.0.0.1", 0))

    def _child(self, serve: Callable[[Link], None], control: socket.socket) -> None:
        try:
            self.control.close()
            os.dup2(self.stderr, 2)
            sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
            link = Link(control, page.Page(self.words), GENERATION, Guard(reopen(self.guard.fd)))
            serve(link)
            link.bye()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            sys.__stdout__.write(self.errors())  # type: ignore[union-attr]
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.exit_code()
        for client in self.clients:
            client.close()
        for sock in self.held.values():
            sock.close()
        self.listener.close()
        self.control.close()
        self.guard.close()
        os.close(self.stderr)

    def exit_code(self) -> int:
        """Wait for the instance's end."""
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def errors(self) -> str:
        """What the instance wrote to standard error so far."""
        return os.pread(self.stderr, 1 << 20, 0).decode()

    def connect(self) -> tuple[Client, socket.socket]:
        sock = socket.socket(self.listener.family)
        sock.connect(self.listener.getsockname())
        accepted, _ = self.listener.accept()
        accepted.setblocking(False)
        client = Client(sock)
        self.clients.append(client)
        return client, accepted

    def lend(
        self, prefix: bytes, *, sticky: bool = True, start: int = WARM, t0_ns: int = 0, direct: bool = False
    ) -> Client:
        """A new client whose connection the instance gets, with `prefix` as the bytes read already."""
        client, accepted = self.connect()
        self.lend_again(accepted, prefix, sticky=sticky, start=start, t0_ns=t0_ns, direct=direct)
        return client

    def lend_again(
        self,
        accepted: socket.socket,
        prefix: bytes,
        *,
        sticky: bool = True,
        start: int = WARM,
        t0_ns: int = 0,
        direct: bool = False,
    ) -> int:
        self.number += 1
        slot = self.slot
        self.slot = (self.slot + 1) % SLOTS
        client = None if self.unix else accepted.getpeername()
        server = ("/run/app.sock", None) if self.unix else accepted.getsockname()
        frame = frames.LoanFrame(
            start,
            sticky,
            slot,
            0,
            self.number,
            t0_ns or time.monotonic_ns(),
            frames.pack_addresses(client, server),
            prefix,
            direct,
        )
        self.held[self.number] = accepted
        fds.send(self.control, frames.pack_loan(frame), (accepted.fileno(),))
        return self.number

    def returned(self, count: int = 1) -> frames.ReturnFrame:
        """Wait until `count` returns have come in all; the last of them."""
        deadline = time.monotonic() + PATIENCE
        while len(self.back) < count:
            self._read(deadline)
        return self.back[count - 1]

    def return_of(self, number: int) -> frames.ReturnFrame:
        """Wait until the loan `number` has come back."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for back in self.back:
                if back.id == number:
                    return back
            self._read(deadline)

    def next_request(self, raw: bytes) -> None:
        """When the last loan has come back to be kept: lend its connection again, for `raw`."""
        back = self.return_of(self.number)
        assert (back.how, back.leftover) == (KEEP, b""), back
        self.lend_again(self.held.pop(back.id), raw)

    def wait_bye(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.said_bye:
            self._read(deadline)

    def _read(self, deadline: float) -> None:
        if not select.select([self.control], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError(self.errors())
        buffer = bytearray(fds.MAX_MESSAGE)
        size, _ = fds.receive(self.control, buffer)
        if size == 0:
            raise EOFError(self.errors())
        if buffer[0] == frames.RETURN:
            self.back.append(frames.unpack_return(memoryview(buffer)[:size]))
        elif buffer[0] == frames.READY:
            self.is_ready = True
        elif buffer[0] == frames.BYE:
            self.said_bye = True
        else:
            self._other(memoryview(buffer)[:size])

    def _other(self, data: memoryview) -> None:
        """A message of another kind."""

    def end(self, number: int) -> None:
        """End a returned connection as the gateway does."""
        sock = self.held.pop(number)
        sock.shutdown(socket.SHUT_WR)
        sock.close()

    def leave(self, level: int = 1) -> None:
        self.words[page.W_LEAVE] = level
        self.recall()

    def recall(self) -> None:
        fds.send(self.control, frames.RECALL_FRAME)

    def word(self, index: int) -> int:
        return self.words[index]

    def wait_word(self, index: int, value: int) -> None:
        """Wait until a word of the page has `value`."""
        deadline = time.monotonic() + PATIENCE
        while self.words[index] != value:
            if time.monotonic() > deadline:
                raise TimeoutError(f"word {index} is {self.words[index]}, not {value}\n{self.errors()}")
            time.sleep(0.002)  # shared memory has no event to wait for
