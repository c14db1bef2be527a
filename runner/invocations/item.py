"""An invocation in the queue, as whoever runs it holds it, and what is written of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol

from snapfork.runner.invocations.model import Invocation, QueueState, Task

INLINE = 2048
"""Payloads up to this size are in the row itself and in memory with it; larger ones lie beside."""


class Item:
    """One queued invocation. payload: None while it is only on the disk. due: when its lease ends. held: it
    is in memory from the start, and nobody else's before `due`.

    errors: function errors so far; system_errors: system errors in a row; attempts: runs begun.
    """

    __slots__ = (
        "attempts",
        "due",
        "enqueued",
        "errors",
        "events",
        "function",
        "held",
        "id",
        "kept",
        "meta",
        "payload",
        "qualifier",
        "request_id",
        "started",
        "state",
        "stopping",
        "system_errors",
        "task_id",
    )

    def __init__(
        self,
        id: int,
        request_id: str,
        task_id: str | None,
        function: str,
        qualifier: str,
        enqueued: float,
        kept: bool,
        meta: str,
        payload: bytes | None,
        *,
        due: float,
        held: bool = True,
        attempts: int = 0,
        errors: int = 0,
        system_errors: int = 0,
        started: float | None = None,
        state: QueueState = "Enqueued",
        events: int = 0,
    ) -> None:
        self.id = id
        self.request_id = request_id
        self.task_id = task_id
        self.function = function
        self.qualifier = qualifier
        self.enqueued = enqueued
        self.kept = kept
        self.meta = meta
        self.payload = payload
        self.due = due
        self.held = held
        self.attempts = attempts
        self.errors = errors
        self.system_errors = system_errors
        self.started = started
        self.state: QueueState = state
        self.events = events
        self.stopping = False

    @property
    def beside(self) -> bool:
        """True when the payload is not in the row itself."""
        return self.payload is None or len(self.payload) > INLINE

    def invocation(self) -> Invocation:
        """What is to be run; the payload must be here."""
        assert self.payload is not None
        more: dict[str, Any] = {"trigger": "async"}  # what came by the API has no other word in its meta
        more |= json.loads(self.meta) if self.meta else {}
        more["headers"] = tuple((name, value) for name, value in more.get("headers", ()))
        return Invocation(
            id=self.request_id,
            function=self.function,
            qualifier=self.qualifier,
            payload=self.payload,
            attempt=max(1, self.attempts),
            **more,
        )

    def task(self, payload: bytes = b"") -> Task:
        """As it can be looked up."""
        return Task(
            self.task_id or self.request_id,
            self.request_id,
            self.function,
            self.qualifier,
            self.state,
            self.enqueued,
            self.started or 0.0,
            attempts=self.attempts,
            payload=payload,
        )


_META = ("trigger", "dialect", "client_context", "content_type", "headers", "chain")
_more = attrgetter(*_META)
_USUAL = _more(Invocation("", "", "", b""))


def meta_of(invocation: Invocation) -> str:
    """What an invocation has beside ids, function and payload, as JSON; "" for nothing unusual."""
    more = _more(invocation)
    if more == _USUAL:
        return ""
    pairs = zip(_META, more, _USUAL, strict=True)
    unusual = {name: value for name, value, usual in pairs if value != usual}
    return json.dumps(unusual, separators=(",", ":"))


@dataclass(frozen=True)
class Delivery:
    """A destination that is to get something. number: of its row, 0 before it has one. kind: "on_success",
    "on_failure" or "dead_letter". body: what it gets. attributes: headers beside it, as JSON pairs. chain:
    see policy.chains."""

    target: str
    kind: str
    function: str
    request_id: str
    body: bytes
    dialect: str = "runner"
    attributes: tuple[tuple[str, str], ...] = ()
    number: int = 0
    attempts: int = 0
    created: float = 0.0
    chain: str = ""


@dataclass(slots=True)
class Change:
    """What is written of an item after a step of its life. due: None when it has ended.

    drop: its payload is of no more use; beside: it is not in the row itself. dead: it is a dead letter.
    """

    item: int
    state: QueueState
    due: float | None
    held: bool
    started: float | None
    ended: float | None
    attempts: int
    errors: int
    system_errors: int
    dead: bool = False
    error: str = ""
    instance: str = ""
    drop: bool = False
    beside: bool = False
    result: bytes | None = None
    destination: str = ""
    events: tuple[dict[str, Any], ...] = ()
    deliveries: tuple[Delivery, ...] = ()


class Feed(Protocol):
    """Who runs what is enqueued, without a way round the disk: the dispatcher."""

    def room(self, function: str) -> bool:
        """True when an invocation of this function may be kept in memory right away."""
        ...

    def put(self, item: Item) -> None:
        """Run this; it is leased."""
        ...

    def wake(self, function: str, due: float) -> None:
        """From `due` on there is something to take."""
        ...

    def cancel(self, item: Item) -> None:
        """This one, which runs, is to be stopped."""
        ...
