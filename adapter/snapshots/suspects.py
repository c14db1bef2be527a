"""What a snapshot holds that should perhaps not stay the same: secrets, random values, moments of time."""

from __future__ import annotations

import datetime
import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from snapfork.adapter.snapshots import problems

MOST_STEPS = 300_000
MOST_NAMED = 20
_SECRET = re.compile(
    r"(^|_)(secret|secret_?key|passw(or)?d|passphrase|token|api_?key|access_?key|private_?key|credential)s?$",
    re.IGNORECASE,
)
_LAST_NAME = re.compile(r"""(?:^|\.|\[")(\w+)(?:"\])?$""")
"""Of a path: an attribute, or a key of words."""
_TOO_PLAIN = 2**20
"""Smaller numbers are everywhere."""


def is_secret(name: str) -> bool:
    """Whether what has this name is probably secret."""
    return _SECRET.search(name) is not None


def find(
    roots: Mapping[str, Any],
    is_elsewhere: Callable[[Any], bool],
    notes: Mapping[Hashable, str] | None = None,
    since: float | None = None,
) -> list[str]:
    """Warnings, each with the path of what it is about.

    `is_elsewhere` tells of things that are not captured but named. `notes` tells of values that the app is
    known to have got while it was initialised: value -> what it was ("drawn at random (secrets.token_hex,
    shop.py:7)"). `since`: when initialising began, in seconds since the epoch; by default, with this process.
    """
    began, now = since or _began(), time.time()
    found: dict[str, str] = {}
    seen: set[int] = set()
    queue: deque[tuple[str, Any]] = deque(roots.items())
    steps = 0
    while queue and steps < MOST_STEPS:
        path, thing = queue.popleft()
        why = _suspicion(path, thing, notes or {}, began, now)
        if why:
            found.setdefault(path, why)
        if id(thing) in seen or is_elsewhere(thing):
            continue
        seen.add(id(thing))
        steps += 1
        queue.extend(problems.edges(path, thing))
    told = [f"{path} {why}" for path, why in found.items()]
    return told[:MOST_NAMED] + ([f"and {len(told) - MOST_NAMED} more of these"] if told[MOST_NAMED:] else [])


def _suspicion(path: str, thing: Any, notes: Mapping[Hashable, str], began: float, now: float) -> str | None:
    kind = type(thing)
    if kind in (str, bytes):
        if len(thing) >= 4 and thing in notes:
            return f"was {notes[thing]}"
        name = _LAST_NAME.search(path)
        return "is a secret by its name" if thing and name and is_secret(name[1]) else None
    if kind is datetime.datetime:
        return _of_time(thing.timestamp(), began, now)
    if kind is float:
        if thing in notes:
            return f"was {notes[thing]}"
        ticks = time.monotonic() - (now - began) <= thing <= time.monotonic() and not thing.is_integer()
        return _of_time(thing, began, now) or ("is of this machine's clock since boot" if ticks else None)
    if kind is int and thing > _TOO_PLAIN:
        return f"was {notes[thing]}" if thing in notes else _of_time(thing, began - 1, now)
    if kind is uuid.UUID and thing.version in (1, 4):
        return f"was {notes[thing]}" if thing in notes else "is a random id"
    return None


def _of_time(seconds: float, began: float, now: float) -> str | None:
    return "is a time of this initialisation" if began <= seconds <= now else None


def _began() -> float:
    """When this process began, in seconds since the epoch."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    with open("/proc/uptime") as file:
        uptime = float(file.read().split()[0])
    return time.time() - uptime + ticks / 100
