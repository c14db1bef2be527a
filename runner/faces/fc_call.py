"""What every operation of the FC face works with: the parts of the runner, and the call itself."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from snapfork.runner.faces import fc_names
from snapfork.runner.faces.exchange import Head, Reply
from snapfork.runner.faces.fc_errors import invalid, too_large
from snapfork.runner.faces.fc_names import Place
from snapfork.runner.registry.defaults import DEFAULTS
from snapfork.runner.registry.model import Key

if TYPE_CHECKING:
    from snapfork.runner.invocations.invoker import Invoker
    from snapfork.runner.invocations.queue import Queue
    from snapfork.runner.registry.operations import Operations

T = TypeVar("T")
PAGE = 20
"""Items of a list where no limit is asked for."""
CHECKSUMS = 4096


@dataclass
class Desk:
    """The parts. download: (path below /downloads/, call) -> an address from which it can be fetched for a
    while. address: (function, qualifier) -> where HTTP requests reach it."""

    operations: Operations
    invoker: Invoker
    queue: Queue
    place: Place
    download: Callable[[str, Call], str]
    address: Callable[[str, str], str]
    clock: Callable[[], float] = time.time
    checksums: dict[str, str] = field(default_factory=dict)

    async def checksum(self, package: str, path: Callable[[], str]) -> str:
        """FC's checksum of a stored package, by its hash; `path` tells where its zip lies."""
        known = self.checksums.get(package)
        if known is None:
            known = await asyncio.to_thread(lambda: fc_names.checksum(Path(path()).read_bytes()))
            if len(self.checksums) >= CHECKSUMS:
                self.checksums.pop(next(iter(self.checksums)))
            self.checksums[package] = known
        return known


@dataclass(slots=True)
class Call:
    """One request, its input checked. values: members of path, query and headers by their names in the API;
    `body`: the members of the body, or the bytes that are the body."""

    operation: str
    values: dict[str, Any]
    request_id: str
    head: Head
    key: Key

    @property
    def function(self) -> str:
        name: str = self.values["function_name"]
        return name

    @property
    def qualifier(self) -> str:
        """As it was asked for, "" for none."""
        qualifier: str = self.values.get("qualifier", "")
        return qualifier

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = self.values.get("body", {})
        return body

    @property
    def limit(self) -> int:
        limit: int = self.values.get("limit", PAGE)
        return limit

    @property
    def start(self) -> str:
        start: str = self.values.get("nextToken", "")
        return start


Answer = dict[str, Any] | Reply | None
"""JSON, a whole reply, or nothing (204)."""
Handler = Callable[[Desk, Call], Awaitable[Answer]]


def listed(name: str, items: list[Any], after: str, token: str = "nextToken") -> dict[str, Any]:
    """The envelope of a list; without a token this was the last page."""
    return {name: items, **({token: after} if after else {})}


def filtered(
    fetch: Callable[[str, int], tuple[list[T], str]],
    keep: Callable[[T], bool],
    key: Callable[[T], str],
    start: str,
    limit: int,
) -> tuple[list[T], str]:
    """A page of those items of a paged list that are to be kept, and where the next one starts."""
    found: list[T] = []
    while True:
        items, start = fetch(start, limit + 1)
        found += [item for item in items if keep(item)]
        if not start or len(found) > limit:
            return found[:limit], key(found[limit - 1]) if len(found) > limit else ""


async def zip_of(desk: Desk, code: dict[str, Any] | None, required: bool) -> bytes | None:
    """The zip in an InputCodeLocation, its checksum compared. Raises FcError."""
    code = code or {}
    if code.get("ossBucketName") or code.get("ossObjectName"):
        raise invalid("code.ossBucketName is not supported: there is no OSS here; send code.zipFile.")
    data: bytes | None = code.get("zipFile")
    if not data:
        if required or data is not None:
            raise invalid("code.zipFile is required.")
        return None
    limit = DEFAULTS["fc"].zip_bytes
    if len(data) > limit:
        raise too_large("code.zipFile", limit)
    if wanted := code.get("checksum"):
        found = await asyncio.to_thread(fc_names.checksum, data)
        if wanted != found:
            raise invalid(f"code.checksum is {wanted}, but the CRC-64 of the package is {found}.")
        desk.checksums[hashlib.sha256(data).hexdigest()] = found
    return data
