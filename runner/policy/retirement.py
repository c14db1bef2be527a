"""Which templates go when they are more than their memory or their descriptors: those that nobody has called
for longest. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple


class Warm(NamedTuple):
    """A function with a template. size: bytes of memory. used_ns: when its last request came. held: it has
    requests, or instances that must be kept. descriptors: how many the gateway has open for it."""

    name: str
    size: int
    used_ns: int
    held: bool
    descriptors: int = 0


def retirees(templates: Iterable[Warm], budget: int, descriptors: float = math.inf) -> list[str]:
    """Who is to go so that the rest fits `budget` and `descriptors`, the longest unused first.

    What was used last stays, even if it alone is more: it would only come and go.
    """
    known = sorted(templates, key=lambda one: one.used_ns)
    total = sum(one.size for one in known)
    open_now = sum(one.descriptors for one in known)
    gone = []
    for one in known[:-1]:
        if total <= budget and open_now <= descriptors:
            break
        if not one.held:
            gone.append(one.name)
            total -= one.size
            open_now -= one.descriptors
    return gone
