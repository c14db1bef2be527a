"""One HTTP request of a control client as the faces see it, and the answer that goes back.

The faces are ASGI apps without a framework between: a warm invocation is paid per request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]
"""Names in lower case, in order of arrival."""


class BodyTooLarge(Exception):
    """The request's body is beyond `limit` bytes; what had come of it is thrown away."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"Request must be smaller than {limit} bytes.")
        self.limit = limit


class Disconnected(Exception):
    """The client went away in the middle of its request."""


@dataclass(slots=True)
class Head:
    """A request without its body. path, query: as they were sent, still percent-encoded."""

    method: str
    path: bytes
    query: bytes
    headers: Headers

    @classmethod
    def of(cls, scope: Scope) -> Head:
        """From an ASGI scope of kind "http"."""
        return cls(
            scope["method"],
            scope.get("raw_path") or scope["path"].encode(),
            scope.get("query_string", b""),
            scope["headers"],
        )

    def get(self, name: bytes) -> bytes | None:
        """The first header of that name (lower case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def text(self, name: bytes, default: str = "") -> str:
        """The first header of that name as text."""
        value = self.get(name)
        return default if value is None else value.decode("latin-1")


@dataclass(slots=True)
class Reply:
    """An answer. body: bytes, or pieces that go out as they come."""

    status: int
    body: bytes | AsyncIterator[bytes] = b""
    headers: Headers = field(default_factory=list)


async def read_body(receive: Receive, head: Head, limit: int) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as it is known to be, Disconnected."""
    declared = head.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise BodyTooLarge(limit)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise BodyTooLarge(limit)
        if not message.get("more_body"):
            return piece if not pieces else b"".join((*pieces, piece))
        pieces.append(piece)


async def send_reply(send: Send, reply: Reply, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send the answer with its Content-Length, or piece by piece where its length is open."""
    headers = [*reply.headers, *extra]
    if isinstance(reply.body, bytes):
        if reply.status != 204:
            headers.append((b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    async for piece in reply.body:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
