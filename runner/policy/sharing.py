"""When an instance of one request at a time holds several connections, and when they are taken from it. Pure.

A connection that an instance holds costs the gateway nothing from request to request, but its requests wait
for each other. So they are held together while requests are short and processors, not instances, are what is
scarce; and they go elsewhere once one of them keeps the others waiting.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

MOST_HELD = 16
"""Connections that one instance holds at most."""
SWIFT_NS = 5_000_000
"""Requests that take less, one with another, are worth waiting for."""
REST_NS = 10 * 10**9
"""How long an instance whose requests waited for others holds no more than one connection."""
SAMPLE = 8
"""So many requests are looked at together."""
PATIENT_LOOKS = 10
"""At so many looks in a row the same request ran: the others wait no longer, whatever it does."""
SURE_LOOKS = 3
"""So often in a row it must be seen that the load lies badly before it is moved."""


class Holder(Protocol):
    """An instance that may be lent a connection. swift: its latest requests were short, and work."""

    swift: bool

    @property
    def running(self) -> int: ...

    @property
    def lent(self) -> int: ...


class Load(NamedTuple):
    """active: instances that serve requests; swift: all of them do it quickly. busy: processors are short.
    queues: at the instance with most connections, one waits for another. more: whether there is an idle
    instance, or may be another one."""

    active: int
    swift: bool
    busy: bool
    queues: bool
    more: bool


H = TypeVar("H", bound=Holder)


def holder(candidates: Iterable[H], may_start: bool, cores: int, busy: bool) -> H | None:
    """Who takes a connection on top of those it holds, when no instance is idle; None: nobody.

    Only swift instances do: at once those that wait for their clients, and those that work where no other
    instance may start, or no processor is left for it (`busy`).
    """
    free: H | None = None
    best: H | None = None
    working = 0
    for one in candidates:
        running = one.running
        if running:
            working += 1
        if not one.swift or one.lent >= MOST_HELD:
            continue
        if running:
            best = one if best is None or one.lent < best.lent else best
        else:
            free = one if free is None or one.lent < free.lent else free
    if free is not None:
        return free
    if may_start and (working < cores or not busy):
        return None
    return best


def is_work(busy_ns: int, processor_ns: int) -> bool:
    """Whether requests that took `busy_ns` spent most of it on a processor, or waiting for one. Where they
    wait for something else, several instances do more."""
    return 2 * processor_ns >= busy_ns


def is_held_up(looks: int, sleeps: bool, busy: bool) -> bool:
    """Whether connections are to be taken from an instance that was seen at the same request `looks` times.

    sleeps: it waits for something else than a processor. On a busy machine one that does not may only be
    waiting for its turn.
    """
    return looks >= PATIENT_LOOKS or (looks > 0 and (sleeps or not busy))


def is_crowded(load: Load, cores: int) -> bool:
    """More instances take turns on the processors than those are: fewer would do the same with less."""
    return load.swift and load.busy and load.active >= cores


def is_lopsided(load: Load, cores: int) -> bool:
    """Connections share instances although others could serve some of them beside."""
    return load.queues and load.more and (load.active < cores or not load.busy)
