"""snapfork's own face, under /v1: what `runner deploy` and the like speak, and `serverless(app).deploy(url)`.

It says in JSON what the domain has, where the dialects cannot: no memory limit, several apps in one table,
dead letters, records, log lines, keys. Requests are signed like any other, with SigV4 and service "snapfork".
Errors: {"error": {"code", "message"}}.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from snapfork.runner.errors import UserError
from snapfork.runner.faces.auth import Auth, Refused, SignatureError, permit
from snapfork.runner.faces.exchange import BodyTooLarge, Disconnected, Head, Reply, read_body, send_reply
from snapfork.runner.faces.native_plain import plain
from snapfork.runner.registry import errors
from snapfork.runner.registry.model import Key
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

PREFIX = b"/v1/"
SERVICE = "snapfork"
SMALL = 1 << 20
_LENGTH = struct.Struct(">I")
STATUS: dict[type[errors.OperationError], tuple[int, str]] = {
    errors.NotFound: (404, "not_found"),
    errors.AlreadyExists: (409, "already_exists"),
    errors.Conflict: (409, "conflict"),
    errors.PreconditionFailed: (412, "precondition_failed"),
    errors.TooLarge: (413, "too_large"),
    errors.LimitExceeded: (400, "limit_exceeded"),
    errors.BadPackage: (400, "bad_package"),
    errors.Invalid: (400, "invalid"),
    errors.Throttled: (429, "throttled"),
    errors.Disabled: (403, "disabled"),
    errors.Unavailable: (503, "unavailable"),
    errors.Denied: (403, "denied"),
}


@dataclass(slots=True)
class Asked:
    """One request that has been judged: who, what, and the parts of its path that are names."""

    key: Key
    head: Head
    query: QueryParams
    body: bytes
    names: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """The body as an object. Raises Invalid."""
        return object_of(self.body)

    def number(self, name: str, default: float | None = None) -> float | None:
        """A number of the query. Raises Invalid."""
        text = self.query.get(name)
        if not text:
            return default
        try:
            return float(text)
        except ValueError:
            raise errors.Invalid(f"{name} must be a number, not {text!r}.", name) from None

    def count(self, name: str, default: int, most: int = 10_000) -> int:
        """A whole number of the query between 1 and `most`. Raises Invalid."""
        value = self.number(name, default)
        if value is None or not 1 <= value <= most or value != int(value):
            raise errors.Invalid(f"{name} must be a whole number from 1 to {most}.", name)
        return int(value)


Handler = Callable[[Asked], Awaitable[Any]]


@dataclass(frozen=True)
class Endpoint:
    """path: segments, "*" for a name. action: what its key must be allowed. own: the first name is a
    function's, to which a key may be limited. limit: bytes of body."""

    method: str
    path: tuple[str, ...]
    handler: Handler
    action: str = "manage"
    own: bool = False
    limit: int = SMALL


class NativeFace:
    """The ASGI app of /v1."""

    def __init__(self, auth: Auth, endpoints: list[Endpoint]) -> None:
        self._auth = auth
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = Head.of(scope)
        try:
            reply = await self._answer(head, receive)
        except Disconnected:
            return
        await send_reply(send, reply)

    async def _answer(self, head: Head, receive: Receive) -> Reply:
        try:
            claim = self._auth.open(head)
            endpoint, names = self._find(head)
            body = await read_body(receive, head, endpoint.limit)
            key = self._auth.close(claim, body)
            # Not `action`: what a key may do is the registry's word for it.
            permit(
                key, "invoke" if endpoint.action == "invoke" else "manage", names[0] if endpoint.own else None
            )
            asked = Asked(key, head, QueryParams(head.query), body, names)
            result = await endpoint.handler(asked)
        except SignatureError as error:
            return problem(403 if error.code != "missing" else 401, f"signature_{error.code}", error.message)
        except Refused as error:
            return problem(403, error.code, error.message)
        except BodyTooLarge as error:
            return problem(413, "too_large", str(error))
        except errors.OperationError as error:
            status, code = next(
                (STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), (500, "registry_failed")
            )
            return problem(status, code, error.message)
        except UserError as error:  # of the data directory: its disk is full, or it may not be written
            return problem(500, "failed", error.sentence)
        return result if isinstance(result, Reply) else answer(result)

    def _find(self, head: Head) -> tuple[Endpoint, tuple[str, ...]]:
        """The endpoint of a path, and its names. Raises NotFound."""
        from urllib.parse import unquote

        segments = [unquote(part) for part in head.path[len(PREFIX) :].decode("ascii", "replace").split("/")]
        for endpoint in self._endpoints:
            if endpoint.method != head.method or len(endpoint.path) != len(segments):
                continue
            pairs = list(zip(endpoint.path, segments, strict=True))
            if all(want in ("*", got) and got for want, got in pairs):
                return endpoint, tuple(got for want, got in pairs if want == "*")
        raise errors.NotFound(f"There is no {head.method} {head.path.decode('ascii', 'replace')} here.")


def problem(status: int, code: str, message: str) -> Reply:
    """An error as JSON."""
    return answer({"error": {"code": code, "message": message}}, status)


def answer(result: Any, status: int = 200) -> Reply:
    """A result as JSON; dataclasses become objects."""
    body = json.dumps(plain(result)).encode()
    return Reply(status, body, [(b"content-type", b"application/json")])


def object_of(body: bytes) -> dict[str, Any]:
    """A JSON object; b"" is an empty one. Raises Invalid."""
    try:
        value = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        raise errors.Invalid("The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise errors.Invalid("The body must be a JSON object.")
    return value


def pack_deploy(about: dict[str, Any], package: bytes) -> bytes:
    """The body of a deploy: four bytes of length (big-endian), JSON of that length, the package."""
    head = json.dumps(about).encode()
    return _LENGTH.pack(len(head)) + head + package


def unpack_deploy(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Inverse of `pack_deploy`. Raises Invalid."""
    if len(body) < _LENGTH.size:
        raise errors.Invalid("The body of a deploy is a length, JSON and the package.")
    (size,) = _LENGTH.unpack_from(body)
    if size > SMALL or len(body) < _LENGTH.size + size:
        raise errors.Invalid("The body of a deploy is shorter than it says.")
    return object_of(body[_LENGTH.size : _LENGTH.size + size]), body[_LENGTH.size + size :]
