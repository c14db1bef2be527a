"""The gateway's end of the line to the services process: questions in, answers and events out, at once."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

_LENGTH = struct.Struct(">I")
MAX_MESSAGE = 64 << 20
READ = 1 << 18
UNAVAILABLE = "unavailable"
"""The kind of a refusal that is nobody's fault but the runner's, such as no descriptors left."""

Handler = Callable[[dict[str, Any]], Any]


class Refused(Exception):
    """An operation that failed, with what is to be said of it beside the sentence."""

    def __init__(self, sentence: str, **details: Any) -> None:
        super().__init__(sentence)
        self.details = details


class Desk:
    """Answers requests {"id", "op", ...} framed by a 4-byte length; `handlers` by operation.

    A handler returns the result, or a future of it; it raises Refused, LookupError or ValueError with one
    sentence to refuse. Whatever else it raises is answered, too (kind "unavailable"). `notices` are
    operations without an answer. `on_ready` gets the first message of the services process: where its control
    API listens. `on_close` is called once when the line is closed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        handlers: dict[str, Handler],
        on_ready: Callable[[dict[str, Any]], None],
        notices: dict[str, Handler] | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._handlers = handlers
        self._notices = notices or {}
        self._on_ready = on_ready
        self._on_close = on_close
        self._in = bytearray()
        self._out = bytearray()
        self._open = True
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self._readable)

    def tell(self, message: dict[str, Any]) -> bool:
        """Send a message that nobody asked for; False when there is nobody."""
        if self._open:
            self._send(message)
        return self._open

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._in += data
        while self._open and len(self._in) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._in)
            if size > MAX_MESSAGE:
                self.close()
                return
            if len(self._in) < _LENGTH.size + size:
                return
            data = bytes(self._in[_LENGTH.size : _LENGTH.size + size])
            del self._in[: _LENGTH.size + size]
            self._handle(json.loads(data))

    def _handle(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            self._on_ready(message["ready"])
            return
        operation = str(message.get("op"))
        if operation in self._notices:
            try:
                self._notices[operation](message)
            except Exception as error:  # what comes next is to be read all the same
                self._complain(operation, error)
            return
        number = message.get("id")
        try:
            if operation not in self._handlers:
                raise LookupError(f"unknown operation {message.get('op')!r}")
            result = self._handlers[operation](message)
        except (LookupError, ValueError, Refused) as error:
            self._refuse(number, error)
            return
        except OSError as error:  # descriptors or memory are out: that passes
            self._refuse(number, Refused(f"not now: {error.strerror or error}", kind=UNAVAILABLE))
            return
        except Exception as error:  # a fault of ours: whoever asked is not to wait for ever
            self._complain(operation, error)
            self._refuse(number, Refused(f"the gateway failed: {error!r}", kind=UNAVAILABLE))
            return
        if isinstance(result, asyncio.Future):
            result.add_done_callback(lambda done: self._answer_later(number, done))
        else:
            self.tell({"id": number, "ok": True, "result": result})

    def _answer_later(self, number: Any, done: asyncio.Future[Any]) -> None:
        if done.cancelled():
            self._refuse(number, Refused("it was given up", kind=UNAVAILABLE))
            return
        error = done.exception()
        if error is None:
            self.tell({"id": number, "ok": True, "result": done.result()})
        else:
            self._refuse(number, error)

    def _complain(self, operation: str, error: Exception) -> None:
        self._loop.call_exception_handler({"message": f"desk operation {operation}", "exception": error})

    def _refuse(self, number: Any, error: BaseException) -> None:
        details = error.details if isinstance(error, Refused) else {}
        self.tell({"id": number, "ok": False, "error": str(error), **details})

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
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
            self._on_close()
