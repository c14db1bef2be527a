"""What all operations stand on: the image, one change at a time, and who is told of it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from snapfork.runner.registry import names, rows
from snapfork.runner.registry.errors import Conflict, Invalid, NotFound, OperationError, PreconditionFailed
from snapfork.runner.registry.image import Image
from snapfork.runner.registry.model import LATEST, Alias, Function, Version
from snapfork.runner.registry.rows import Counter
from snapfork.runner.registry.store import Store
from snapfork.runner.units import Unit, UnitRoute

T = TypeVar("T")
Subscriber = Callable[[str, str], None]


class Gateway(Protocol):
    """The part of the gateway's desk that operations use; see /services/link.py for the line itself."""

    async def put(self, units: list[Unit], drop: list[str]) -> None: ...
    async def routes(self, routes: list[UnitRoute]) -> None: ...
    async def wait(self, unit: str, timeout: float) -> dict[str, Any]: ...
    async def status(self) -> dict[str, dict[str, Any]]: ...
    async def provision(self, unit: str, minimum: int) -> None: ...


@dataclass(frozen=True)
class Site:
    """What the registry has to know of where it is. region, account: as functions and ARNs are to show them.

    time_zone: TZ of functions. path: their PATH. settle: seconds that a change waits for the gateway to have
    followed it, before it goes on behind the caller's back; warm: how long a new unit may take to be up
    before routes move to it all the same.
    """

    region: str = "us-east-1"
    account: str = "000000000000"
    time_zone: str = "UTC"
    path: str = "/usr/local/bin:/usr/bin:/bin"
    language: str = "C.UTF-8"
    settle: float = 5.0
    warm: float = 60.0


class Core:
    """State and habits that the operations share. `clock`: seconds since the epoch."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self.clock = clock
        self.image = Image(store.submit(rows.read).result())
        self._changing = asyncio.Lock()
        self._subscribers: list[Subscriber] = []

    def subscribe(self, told: Subscriber) -> None:
        """`told("function", name)` is called after each committed change that concerns a function, also with
        ("domain", name), ("layer", name), and ("progress", function) when a build has said another line."""
        self._subscribers.append(told)

    # -- changes ----------------------------------------------------------------------------------------

    async def commit(
        self, puts: Iterable[Any], deletes: Iterable[Any] = (), about: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Write a change and then show it. Whoever calls holds `_changing` since it read what it changes."""
        put, gone = list(puts), list(deletes)

        def change(connection: sqlite3.Connection) -> None:
            rows.write(connection, put, gone)

        writing = asyncio.ensure_future(self._write_and_show(change, put, gone))
        cancelled = False
        while (
            not writing.done()
        ):  # a caller who is gone must not let go of the lock before image and disk agree
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                cancelled = True
        writing.result()
        for kind, name in about:
            self.tell(kind, name)
        if cancelled:
            raise asyncio.CancelledError

    async def _write_and_show(
        self, change: Callable[[sqlite3.Connection], None], puts: list[Any], deletes: list[Any]
    ) -> None:
        try:
            await self.store.write(change)
        except sqlite3.Error as error:
            raise OperationError(f"The registry cannot be written to: {error}.", "registry") from None
        for thing in deletes:
            self.image.delete(thing)
        for thing in puts:
            self.image.put(thing)

    def tell(self, kind: str, name: str) -> None:
        for told in self._subscribers:
            told(kind, name)

    async def settle(self) -> None:
        """Have the gateway follow what was committed; returns after a while even if it is not done."""

    def next_number(self, counter: str) -> Counter:
        """The next number of a counter; it counts when it is committed."""
        last = self.image.get(Counter, counter)
        return Counter(counter, (last.value if last else 0) + 1)

    @staticmethod
    def new_revision() -> str:
        return str(uuid.uuid4())

    # -- looking up -------------------------------------------------------------------------------------

    def function(self, name: str) -> Function:
        found = self.image.get(Function, name)
        if found is None:
            raise NotFound(f"There is no function {name}.", "function", name)
        return found

    def version(self, name: str, number: str) -> Version:
        """A version by its number or LATEST. Raises NotFound, of the function first."""
        self.function(name)
        found = self.image.get(Version, name, number)
        if found is None:
            raise NotFound(f"Function {name} has no version {number}.", "version", number)
        return found

    def latest(self, name: str) -> Version:
        return self.version(name, LATEST)

    def alias(self, name: str, alias: str) -> Alias:
        self.function(name)
        found = self.image.get(Alias, name, alias)
        if found is None:
            raise NotFound(f"Function {name} has no alias {alias}.", "alias", alias)
        return found

    def check_qualifier(self, name: str, qualifier: str | None, *, latest: bool = True) -> str:
        """A qualifier that exists, as it is kept ("" for the unqualified function). Raises NotFound."""
        kept = names.qualifier(qualifier)
        if not kept:
            self.function(name)
            if not latest:
                raise Invalid("A version or an alias is needed here; LATEST is neither.", "qualifier")
        elif kept.isdigit():
            self.version(name, kept)
        else:
            self.alias(name, kept)
        return kept


def check_revision(asked: str | None, current: str, what: str) -> None:
    """Raises PreconditionFailed if a caller's revision is not the current one."""
    if asked and asked != current:
        raise PreconditionFailed(f"{what} has changed since: its revision is {current}.", "revision")


def check_idle(version: Version) -> None:
    """Raises Conflict while an earlier update is in the works."""
    if version.state == "pending" or version.update_state == "pending":
        raise Conflict(
            f"An update of function {version.function} is in progress; wait for it.",
            "update",
            version.function,
        )


def page(items: list[T], key: Callable[[T], str], start: str, limit: int) -> tuple[list[T], str]:
    """At most `limit` of the sorted items behind the key `start`, and the key to go on from, "" at the end.

    `items` are in the order in which they are to be listed; an item deleted meanwhile loses no place as long
    as keys are compared in that order.
    """
    if limit < 1:
        raise Invalid("A page holds at least one item.", "limit")
    begin = 0
    if start:
        begin = next((index + 1 for index, item in enumerate(items) if key(item) == start), -1)
        if begin < 0:
            begin = next((index for index, item in enumerate(items) if key(item) > start), len(items))
    chosen = items[begin : begin + limit]
    return chosen, key(chosen[-1]) if begin + limit < len(items) else ""
