"""GET /downloads/functions/NAME/VERSION and /downloads/layers/NAME/VERSION: code, as a zip, for a while.

Both dialects give an address for code (Lambda's Code.Location, FC's url) that can be fetched as it is: it is
signed in its query with the key of who asked for it, whose rights are judged when it is used.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

from snapfork.runner.faces.auth import Auth, Refused, SignatureError, permit
from snapfork.runner.faces.exchange import Head, Reply, send_reply
from snapfork.runner.faces.signing import presign_sigv4
from snapfork.runner.registry import errors
from snapfork.runner.registry.model import Key
from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from snapfork.runner.registry.operations import Operations

PREFIX = b"/downloads/"
LIFETIME = 600
"""Seconds that an address is good for, as on Lambda."""
PIECE = 1 << 18


class Caller(Protocol):
    """A call of either face: who asks, and by which address of this server."""

    head: Head
    key: Key


class Downloads:
    """The ASGI app, and the addresses that lead to it."""

    def __init__(self, operations: Operations, auth: Auth) -> None:
        self._operations = operations
        self._auth = auth

    def address(self, path: str, call: Caller) -> str:
        """The URL of functions/NAME/VERSION or layers/NAME/VERSION."""
        host = call.head.text(b"host")
        whole = PREFIX + path.encode()
        query = (
            f"?{presign_sigv4(whole, '', host, call.key, self._auth.now(), LIFETIME)}" if call.key.id else ""
        )
        return f"http://{host}{whole.decode()}{query}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_reply(send, await self._answer(Head.of(scope)))

    async def _answer(self, head: Head) -> Reply:
        try:
            key = self._auth.close(self._auth.open(head), b"", reusable=True)
            if head.method != "GET":
                return _problem(405, "method_not_allowed", "Code is only downloaded here: GET.")
            kind, name, version = _parts(head.path)
            permit(key, "manage", name if kind == "functions" else None)
            path = self._path(kind, name, version)
            file = await asyncio.to_thread(open, path, "rb")
        except SignatureError as error:
            return _problem(403, f"signature_{error.code}", error.message)
        except Refused as error:
            return _problem(403, error.code, error.message)
        except errors.Denied as error:
            return _problem(403, "denied", error.message)
        except (errors.OperationError, OSError):
            return _problem(404, "not_found", "There is no such code.")
        size = os.fstat(file.fileno()).st_size

        async def pieces() -> AsyncIterator[bytes]:
            with file:
                while piece := await asyncio.to_thread(file.read, PIECE):
                    yield piece

        headers = [
            (b"content-type", b"application/zip"),
            (b"content-length", b"%d" % size),
            (b"content-disposition", f'attachment; filename="{name}-{version}.zip"'.encode()),
        ]
        return Reply(200, pieces(), headers)

    def _path(self, kind: str, name: str, version: str) -> str:
        if kind == "functions":
            return self._operations.code(name, version)
        return self._operations.layer_code(name, int(version))


def _parts(path: bytes) -> tuple[str, str, str]:
    """(kind, name, version). Raises NotFound."""
    parts = path.decode("ascii", "replace").removeprefix(PREFIX.decode()).split("/")
    if len(parts) != 3 or parts[0] not in ("functions", "layers"):
        raise errors.NotFound("There is no such code.")
    if parts[0] == "layers" and not (parts[2].isascii() and parts[2].isdigit() and len(parts[2]) < 10):
        raise errors.NotFound("There is no such layer.")
    return parts[0], parts[1], parts[2]


def _problem(status: int, code: str, message: str) -> Reply:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return Reply(status, body, [(b"content-type", b"application/json")])
