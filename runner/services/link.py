"""The services' line to the gateway: questions and answers as length-prefixed JSON over a socket pair."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

LENGTH = struct.Struct("!I")
LIMIT = 64 << 20  # bytes of one answer


class GatewayError(Exception):
    """The gateway refused or did not answer; the text is one sentence.

    kind: "start_failed" for a unit whose code does not come up, with the user's `traceback` if there is one.
    """

    def __init__(self, sentence: str, kind: str = "", traceback: str | None = None) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.traceback = traceback


class GatewayTimeout(GatewayError):
    """No answer in time."""


class GatewayLink:
    """Many questions may be open at once; answers find them by their number."""

    def __init__(self, sock: socket.socket, gone: Callable[[], None]) -> None:
        self._sock = sock
        self._gone = gone
        self._listeners: dict[str, list[Callable[[dict[str, Any]], None]]] = {}
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen; `gone` is called once when the gateway has closed its side."""
        reader, self._writer = await asyncio.open_connection(sock=self._sock)
        self._reading = asyncio.create_task(self._read(reader))

    def subscribe(self, event: str, listener: Callable[[dict[str, Any]], None]) -> None:
        """Have `listener` called with each message of this kind that the gateway sends by itself: "unit",
        "authorize"."""
        self._listeners.setdefault(event, []).append(listener)

    def judged(
        self, number: int, ok: bool, status: int = 403, code: str = "forbidden", message: str = ""
    ) -> None:
        """Answer the event "authorize" whose "id" is `number`."""
        self.send(
            {"op": "authorized", "id": number, "ok": ok, "status": status, "code": code, "message": message}
        )

    def send(self, message: dict[str, Any]) -> None:
        """Send a message that has no answer."""
        if self._writer is None:
            raise GatewayError("The line to the gateway is not open.")
        data = json.dumps(message).encode()
        self._writer.write(LENGTH.pack(len(data)) + data)

    async def ask(self, operation: str, within: float = 5.0, **arguments: Any) -> Any:
        """The gateway's result for `operation`. Raises GatewayError, GatewayTimeout after `within` s."""
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        try:
            self.send({"id": number, "op": operation, **arguments})
            reply = await asyncio.wait_for(answer, within)
        except TimeoutError:
            raise GatewayTimeout(f"The gateway did not answer within {within:g} s.") from None
        finally:
            self._open.pop(number, None)
        if not reply.get("ok"):
            sentence = str(reply.get("error") or "The gateway refused without a reason.")
            raise GatewayError(sentence, str(reply.get("kind") or ""), reply.get("traceback"))
        return reply.get("result")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                if size > LIMIT:
                    break
                self._answer(json.loads(await reader.readexactly(size)))
        except (asyncio.IncompleteReadError, OSError, ValueError):
            pass  # the line has ended or carries nonsense: either way nothing more can come of it
        for answer in self._open.values():
            if not answer.done():
                answer.set_exception(GatewayError("The gateway is gone."))
        self._gone()

    def _answer(self, reply: dict[str, Any]) -> None:
        if "event" in reply:
            for listener in self._listeners.get(reply["event"], ()):
                listener(reply)
            return
        answer = self._open.get(reply.get("id", 0))
        if answer is not None and not answer.done():
            answer.set_result(reply)
