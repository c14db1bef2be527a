"""The native face's endpoints for what happens: invocations, dead letters, records, log lines, keys."""

from __future__ import annotations

import base64
import uuid
from typing import Any

from snapfork.runner.faces.exchange import Headers, Reply
from snapfork.runner.faces.native import Asked, Endpoint
from snapfork.runner.invocations.invoker import Invoker
from snapfork.runner.invocations.model import Invocation, Result
from snapfork.runner.invocations.queue import Queue
from snapfork.runner.registry.errors import Denied, Invalid
from snapfork.runner.registry.keys import Keys
from snapfork.runner.registry.operations import Operations
from snapfork.runner.telemetry.history import Wanted
from snapfork.runner.telemetry.service import Telemetry

PAYLOAD_LIMIT = 32 << 20
"""Of synchronous and asynchronous invocations: the larger of the two dialects' limits."""
MOST_LINES = 10_000
HEADER = b"x-snapfork-"


class CallEndpoints:
    """Each asks one thing of those who know."""

    def __init__(
        self, operations: Operations, invoker: Invoker, queue: Queue, keys: Keys, telemetry: Telemetry
    ) -> None:
        self._operations = operations
        self._invoker = invoker
        self._queue = queue
        self._keys = keys
        self._telemetry = telemetry

    def endpoints(self) -> list[Endpoint]:
        one = ("functions", "*")
        return [
            Endpoint("POST", (*one, "invocations"), self.invoke, "invoke", own=True, limit=PAYLOAD_LIMIT),
            Endpoint("GET", (*one, "dead-letters"), self.dead_letters, own=True),
            Endpoint("POST", (*one, "dead-letters"), self.redrive, own=True),
            Endpoint("GET", (*one, "logs"), self.logs, own=True),
            Endpoint("GET", (*one, "records"), self.records, own=True),
            Endpoint("GET", ("invocations", "*"), self.invocation),
            Endpoint("GET", ("logs",), self.logs),
            Endpoint("GET", ("keys",), self.keys),
            Endpoint("POST", ("keys",), self.create_key),
            Endpoint("DELETE", ("keys", "*"), self.delete_key),
        ]

    # -- invocations -----------------------------------------------------------------------------------

    async def invoke(self, asked: Asked) -> Reply:
        """?qualifier=, ?mode=async, ?delay=, ?tail=1, ?id= (the invocation's own, to repeat it safely)."""
        (name,) = asked.names
        query = asked.query
        identity = query.get("id") or str(uuid.uuid4())
        if len(identity) > 128 or not identity.isascii() or not identity.isprintable() or " " in identity:
            raise Invalid("id must be at most 128 printable ASCII characters.", "id")
        content_type = asked.head.text(b"content-type", "application/octet-stream")
        invocation = Invocation(
            identity, name, query.get("qualifier", ""), asked.body, content_type=content_type
        )
        if query.get("mode") == "async":
            self._operations.resolve(name, invocation.qualifier, lambda: 0.0)  # unknown ones are told at once
            task = await self._queue.enqueue(invocation, asked.number("delay", 0.0) or 0.0)
            return Reply(202, b"", [(HEADER + b"request-id", task.request_id.encode())])
        result = await self._invoker.invoke(invocation, tail=bool(query.get("tail")))
        return Reply(200, result.payload, _about(identity, result))

    async def dead_letters(self, asked: Asked) -> dict[str, Any]:
        (name,) = asked.names
        start = asked.query.get("start", "")
        found, after = await self._queue.dead_letters(name, start=start, limit=asked.count("limit", 100))
        if not found:
            self._operations.function(name)  # one that is gone may still have some; else it is not known
        return {"dead_letters": found, "next": after}

    async def redrive(self, asked: Asked) -> dict[str, Any]:
        """{"ids": [...]} or {"all": true}: run them anew."""
        (name,) = asked.names
        given = asked.json()
        there = {task.request_id for task in (await self._queue.dead_letters(name, limit=10_000))[0]}
        ids = (
            list(there) if given.get("all") else [str(one) for one in given.get("ids") or () if one in there]
        )
        return {"redriven": await self._queue.redrive(ids)}

    # -- what was recorded -----------------------------------------------------------------------------

    async def logs(self, asked: Asked) -> dict[str, Any]:
        wanted = self._wanted(asked, 1000)
        await self._telemetry.desk.sync()
        return {"lines": await self._telemetry.read(lambda history: history.lines(wanted))}

    async def records(self, asked: Asked) -> dict[str, Any]:
        wanted = self._wanted(asked, 100)
        await self._telemetry.desk.sync()
        return {"records": await self._telemetry.read(lambda history: history.records(wanted))}

    async def invocation(self, asked: Asked) -> dict[str, Any]:
        """Records and log lines of one request id."""
        wanted = Wanted(request_id=asked.names[0], limit=MOST_LINES)
        await self._telemetry.desk.sync()
        records, lines = await self._telemetry.read(
            lambda history: (history.records(wanted), history.lines(wanted))
        )
        if asked.key.functions is not None:
            others = {one.function for one in (*records, *lines)} - set(asked.key.functions)
            if others:
                raise Denied(f"Key {asked.key.id} may not read what {others.pop()} did.", "key", asked.key.id)
        return {"records": records, "lines": lines}

    def _wanted(self, asked: Asked, limit: int) -> Wanted:
        query = asked.query
        after = asked.number("after")
        return Wanted(
            function=asked.names[0] if asked.names else "",
            version=query.get("version", ""),
            request_id=query.get("request_id", ""),
            text=query.get("text", ""),
            since=asked.number("since"),
            until=asked.number("until"),
            after=None if after is None else int(after),
            limit=asked.count("limit", limit, MOST_LINES),
            newest=after is None,
        )

    # -- keys ------------------------------------------------------------------------------------------

    async def keys(self, _asked: Asked) -> dict[str, Any]:
        return {"keys": self._keys.list()}

    async def create_key(self, asked: Asked) -> dict[str, Any]:
        """{"role": "manage" | "invoke", "functions": [names] or null, "description"}; the only time that its
        secret is told."""
        given = asked.json()
        functions = given.get("functions")
        if functions is not None and not (
            isinstance(functions, list) and functions and all(isinstance(one, str) for one in functions)
        ):
            raise Invalid("functions must be a list of names, or null for all.", "functions")
        role = given.get("role", "invoke")
        if role not in ("manage", "invoke"):
            raise Invalid("role must be manage or invoke.", "role")
        description = str(given.get("description") or "")
        key = self._keys.create(role, tuple(functions) if functions else None, description)
        return {"key": key, "secret": key.secret}

    async def delete_key(self, asked: Asked) -> dict[str, Any]:
        (identity,) = asked.names
        if identity == asked.key.id:
            raise Invalid("A key cannot delete itself: use another one.", "id")
        self._keys.delete(identity)
        return {}


def _about(identity: str, result: Result) -> Headers:
    headers: Headers = [
        (b"content-type", result.content_type.encode("latin-1", "replace")),
        (HEADER + b"request-id", identity.encode()),
        (HEADER + b"version", result.version.encode()),
        (HEADER + b"duration-ms", b"%.3f" % result.duration),
        (HEADER + b"memory-mb", b"%.1f" % result.memory),
        (HEADER + b"start", result.start.encode()),
    ]
    if result.initialise:
        headers.append((HEADER + b"initialise-ms", b"%.3f" % result.initialise))
    if result.error:
        headers.append((HEADER + b"error", result.error.encode()))
    if result.log:
        headers.append((HEADER + b"log", base64.b64encode(result.log)))
    return headers
