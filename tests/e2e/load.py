"""Constant load of keep-alive connections, where every request can tell its own answer."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import threading
from collections import Counter
from typing import BinaryIO, Self

from server import HANG_S, Server


class Torn(Exception):
    """The connection ended in the middle of an answer."""


class Doubled(Exception):
    """Bytes came that belong to no request."""


def read_answer(stream: BinaryIO) -> tuple[int, dict[bytes, bytes], bytes] | None:
    """(status, headers, body) of the next response; None when the connection ended before it."""
    line = stream.readline()
    if not line:
        return None
    status = int(line.split()[1])
    headers: dict[bytes, bytes] = {}
    while (field := stream.readline()) != b"\r\n":
        if not field:
            raise Torn("head")
        name, _, value = field.partition(b":")
        headers[name.strip().lower()] = value.strip()
    if headers.get(b"transfer-encoding") == b"chunked":
        body = b""
        while True:
            size = int(stream.readline() or b"-1", 16)
            if size < 0:
                raise Torn("chunks")
            body += stream.read(size)
            stream.readline()
            if size == 0:
                return status, headers, body
    length = int(headers.get(b"content-length", b"0"))
    body = stream.read(length)
    if len(body) < length:
        raise Torn("body")
    return status, headers, body


def make_request(path: str, token: str, choice: random.Random | None) -> tuple[list[bytes], str]:
    """(the writes of a request, its body): a GET, or one of several framings if there is a `choice`."""
    head = f"{path}?{token} HTTP/1.1\r\nHost: a.example\r\n"
    framing = choice.randrange(4) if choice else 0
    if choice is None or framing == 0:
        return [f"GET {head}\r\n".encode()], ""
    body = token * choice.randint(1, 20 if framing < 3 else 20_000)
    if framing == 1:
        return [
            f"POST {head}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode()
        ], body
    start = f"POST {head}Content-Length: {len(body)}\r\n\r\n"
    half = len(body) // 2
    return [f"{start}{body[:half]}".encode(), body[half:].encode()], body


class Load:
    """`connections` clients, each asking one request after the other until the end of the `with` block.

    `counts` has "ok" (its own answer), statuses of well-formed error answers, "refused" (no connection any
    more) and everything that must not be: "lost" (ended without an answer), "torn", "reset", "mixed"
    (another's), "doubled" (more than its answer), "hang", "broken" (not HTTP, or not the error it says).
    With `bodies` requests have bodies of every framing. `path` is /digest or /pause of the test apps.
    """

    def __init__(
        self, server: Server, connections: int = 16, path: str = "/digest", *, bodies: bool = False
    ) -> None:
        self.server = server
        self.path = path
        self.bodies = bodies
        self.counts: Counter[str] = Counter()
        self.per_client: list[Counter[str]] = [Counter() for _ in range(connections)]
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(number,), daemon=True)
            for number in range(connections)
        ]
        self._progress = threading.Condition()
        self._done = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Let every client finish its request."""
        self._stop.set()
        for thread in self._threads:
            thread.join(HANG_S)
            assert not thread.is_alive(), "a request hangs"
        self.counts = sum(self.per_client, Counter())

    def wait_for_more(self, requests: int) -> None:
        """Wait until so many further requests have been answered."""
        with self._progress:
            goal = self._done + requests
            assert self._progress.wait_for(lambda: self._done >= goal, HANG_S), "the load stands still"

    def _client(self, number: int) -> None:
        counts = self.per_client[number]
        choice = random.Random(number) if self.bodies else None
        sequence = 0
        connection: socket.socket | None = None
        while not self._stop.is_set():
            if connection is None:
                try:
                    connection = self.server.raw()
                except OSError:
                    counts["refused"] += 1
                    return
                if connection.family != socket.AF_UNIX:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stream = connection.makefile("rb")
            sequence += 1
            outcome, goes_on = _ask(connection, stream, self.path, f"{number}-{sequence}", choice)
            counts[outcome] += 1
            with self._progress:
                self._done += 1
                self._progress.notify_all()
            if not goes_on:
                connection.close()
                connection = None
        if connection is not None:
            counts["doubled"] += not _ends_empty(connection, stream)
            connection.close()


def _ask(
    connection: socket.socket, stream: BinaryIO, path: str, token: str, choice: random.Random | None
) -> tuple[str, bool]:
    """(what became of one request, whether the connection goes on)"""
    writes, body = make_request(path, token, choice)
    try:
        for data in writes:
            connection.sendall(data)
        answer = read_answer(stream)
        if answer is None:
            return "lost", False
        return _judge(answer, stream, token, body)
    except ConnectionError:
        return "reset", False
    except TimeoutError:
        return "hang", False
    except Torn:
        return "torn", False
    except Doubled:
        return "doubled", False
    except (ValueError, KeyError, IndexError):
        return "broken", False


def _judge(
    answer: tuple[int, dict[bytes, bytes], bytes], stream: BinaryIO, token: str, sent: str
) -> tuple[str, bool]:
    status, headers, body = answer
    goes_on = headers.get(b"connection", b"").lower() != b"close"
    if not goes_on and stream.read():
        raise Doubled
    shown = json.loads(body)
    if status != 200:
        named = shown["error"]["request_id"] == headers[b"x-request-id"].decode()
        return str(status) if named and shown["error"]["message"] else "broken", goes_on
    return "ok" if shown == {
        "query": token,
        "body": hashlib.sha1(sent.encode()).hexdigest(),
    } else "mixed", goes_on


def _ends_empty(connection: socket.socket, stream: BinaryIO) -> bool:
    """True when a connection on which everything was answered ends without a further byte."""
    try:
        connection.shutdown(socket.SHUT_WR)
        return stream.read() == b""
    except OSError:
        return True  # the server has ended it first
