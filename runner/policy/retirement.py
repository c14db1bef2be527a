"""Which templates go when they are more than their memory: those that nobody has called for longest. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Warm(NamedTuple):
    """A function with a template. size: bytes of memory. used_ns: when its last request came. held: it has
    requests, or instances that must be kept."""

    name: str
    size: int
    used_ns: int
    held: bool


def retirees(templates: Iterable[Warm], budget: int) -> list[str]:
    """Who is to go so that the rest fits `budget`, the longest unused first.

    What was used last stays, even if it alone is more: it would only come and go.
    """
    known = sorted(templates, key=lambda one: one.used_ns)
    total = sum(one.size for one in known)
    gone = []
    for one in known[:-1]:
        if total <= budget:
            break
        if not one.held:
            gone.append(one.name)
            total -= one.size
    return gone
