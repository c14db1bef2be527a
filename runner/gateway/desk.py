"""The gateway's end of the line to the services process: questions in, answers out, never waiting."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

_LENGTH = struct.Struct(">I")
MAX_REQUEST = 1 << 20

Handler = Callable[[dict[str, Any]], Any]


class Desk:
    """Answers requests {"id", "op", ...} framed by a 4-byte length; `handlers` by operation.

    A handler raises LookupError or ValueError with one sentence to refuse. `on_ready` gets the first message
    of the services process: where its control API listens.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        handlers: dict[str, Handler],
        on_ready: Callable[[dict[str, Any]], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._handlers = handlers
        self._on_ready = on_ready
        self._in = bytearray()
        self._out = bytearray()
        self._open = True
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._in += data
        while len(self._in) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._in)
            if size > MAX_REQUEST:
                self.close()
                return
            if len(self._in) < _LENGTH.size + size:
                return
            message = json.loads(bytes(self._in[_LENGTH.size : _LENGTH.size + size]))
            del self._in[: _LENGTH.size + size]
            self._handle(message)

    def _handle(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            self._on_ready(message["ready"])
            return
        reply: dict[str, Any] = {"id": message.get("id"), "ok": True}
        handler = self._handlers.get(str(message.get("op")))
        try:
            if handler is None:
                raise LookupError(f"unknown operation {message.get('op')!r}")
            reply["result"] = handler(message)
        except (LookupError, ValueError) as error:
            reply = {"id": message.get("id"), "ok": False, "error": str(error)}
        data = json.dumps(reply).encode()
        self._out += _LENGTH.pack(len(data)) + data
        self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            self._loop.add_writer(self._sock.fileno(), self._flush)
            return
        except OSError:
            self.close()
            return
        self._loop.remove_writer(self._sock.fileno())

    def close(self) -> None:
        """Hang up; the services process then exits."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
