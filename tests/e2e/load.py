"""Constant load of keep-alive connections, where every request can tell its own answer."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from typing import Self

from server import HANG_S, Server


class Torn(Exception):
    """The connection ended in the middle of an answer."""


def read_answer(stream: object) -> tuple[int, dict[bytes, bytes], bytes] | None:
    """(status, headers, body) of the next response; None when the connection ended before it."""
    line = stream.readline()  # type: ignore[attr-defined]
    if not line:
        return None
    status = int(line.split()[1])
    headers: dict[bytes, bytes] = {}
    while (field := stream.readline()) != b"\r\n":  # type: ignore[attr-defined]
        if not field:
            raise Torn("head")
        name, _, value = field.partition(b":")
        headers[name.strip().lower()] = value.strip()
    if headers.get(b"transfer-encoding") == b"chunked":
        body = b""
        while True:
            size = int(stream.readline() or b"-1", 16)  # type: ignore[attr-defined]
            if size < 0:
                raise Torn("chunks")
            body += stream.read(size)  # type: ignore[attr-defined]
            stream.readline()  # type: ignore[attr-defined]
            if size == 0:
                return status, headers, body
    length = int(headers.get(b"content-length", b"0"))
    body = stream.read(length)  # type: ignore[attr-defined]
    if len(body) < length:
        raise Torn("body")
    return status, headers, body


class Load:
    """`connections` clients, each asking one request after the other until the end of the `with` block.

    `counts` has "ok" (its own answer), statuses of error answers, "refused" (no connection any more) and
    everything that must not be: "lost" (ended without an answer), "torn", "reset", "mixed" (another's).
    """

    def __init__(self, server: Server, connections: int = 16, path: str = "/echo") -> None:
        self.server = server
        self.path = path
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
        sequence = 0
        connection: socket.socket | None = None
        stream = None
        while not self._stop.is_set():
            if connection is None:
                try:
                    connection = self.server.raw()
                except OSError:
                    counts["refused"] += 1
                    return
                stream = connection.makefile("rb")
            sequence += 1
            outcome, goes_on = self._ask(connection, stream, f"{number}-{sequence}")
            counts[outcome] += 1
            with self._progress:
                self._done += 1
                self._progress.notify_all()
            if not goes_on:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _ask(self, connection: socket.socket, stream: object, token: str) -> tuple[str, bool]:
        try:
            connection.sendall(f"GET {self.path}?{token} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode())
            answer = read_answer(stream)
        except ConnectionError:
            return "reset", False
        except Torn:
            return "torn", False
        if answer is None:
            return "lost", False
        status, headers, body = answer
        goes_on = headers.get(b"connection") != b"close"
        if status != 200:
            return str(status), goes_on
        return ("ok" if f'"query": "{token}"'.encode() in body else "mixed"), goes_on
