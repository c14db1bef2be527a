"""Which unit a request is for, when units share hosts and paths, and what a change of that concerns. Pure.

Routes of a named host go before those of any, longer prefixes before shorter; of equal ones the first given.
A route whose methods are others is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from snapfork.runner.http.routes import below
from snapfork.runner.units import UnitRoute

MOST_COMPARED = 64
"""Changed routes that are compared with all others one by one; with more, everything counts as changed."""


class Found(NamedTuple):
    """`route` is None where none is; `allowed`: the methods of those that a request missed by its own."""

    route: UnitRoute | None
    allowed: frozenset[str] = frozenset()


class Table:
    """Finds the route of a request in time that does not grow with their number."""

    def __init__(self, routes: Iterable[UnitRoute] = ()) -> None:
        self.routes = tuple(routes)
        self._by_host: dict[str | None, dict[str, list[UnitRoute]]] = {}
        self._deepest = 0
        for one in self.routes:
            host = one.host.lower() if one.host is not None else None
            self._by_host.setdefault(host, {}).setdefault(one.prefix, []).append(one)
            self._deepest = max(self._deepest, one.prefix.count("/"))
        self._sole: dict[tuple[str | None, UnitRoute], bool] = {}

    def find(self, host: str, path: str, method: str) -> Found:
        """The route for a lower-case host, a decoded path and a method."""
        allowed: set[str] = set()
        prefixes = _prefixes(path, self._deepest)
        for place in (host, None):
            table = self._by_host.get(place)
            if table is None:
                continue
            for prefix in prefixes:
                for one in table.get(prefix, ()):
                    if one.exact and path != prefix:
                        continue
                    if not one.methods or method in one.methods:
                        return Found(one)
                    allowed.update(one.methods)
        return Found(None, frozenset(allowed))

    def is_sole(self, host: str, route: UnitRoute) -> bool:
        """Whether all of `host` below the prefix of `route` is its own, whatever is asked for there."""
        key = (host if host in self._by_host else None, route)
        known = self._sole.get(key)
        if known is None:
            known = self._sole[key] = not any(
                one is not route and self._goes_before(one, route)
                for place in {key[0], None}
                for entries in self._by_host.get(place, {}).values()
                for one in entries
            )
        return known

    @staticmethod
    def _goes_before(one: UnitRoute, route: UnitRoute) -> bool:
        """Whether `one` may get a request that `route` would get without it."""
        if one.host is None and route.host is not None:
            return False
        if one.host is not None and route.host is None:
            return below(one.prefix, route.prefix) or below(route.prefix, one.prefix)
        return below(one.prefix, route.prefix)


def _prefixes(path: str, deepest: int) -> list[str]:
    """Those of `path` that end with a segment, the longest first, down to ""; at most `deepest` segments."""
    found = [""]
    at = 0
    for _ in range(deepest):
        at = path.find("/", at + 1)
        if at < 0:
            found.append(path)
            break
        found.append(path[:at])
    return found[::-1]


def is_sticky(route: UnitRoute) -> bool:
    """Whether further requests on a connection may go where the first has gone, without being looked at."""
    whole = not route.methods and not route.exact and not route.cors
    return len(route.choices) == 1 and route.auth == "none" and route.reserved is None and whole


def draw(choices: tuple[tuple[str, float], ...], chance: float) -> str:
    """One of the units by their weights; `chance` is from [0, 1). "" where there is none."""
    total = sum(weight for _, weight in choices)
    mark = chance * total
    for unit, weight in choices:
        mark -= weight
        if mark < 0:
            return unit
    return choices[-1][0] if choices else ""


def concerned(old: Iterable[UnitRoute], new: Iterable[UnitRoute]) -> set[str] | None:
    """The units whose requests may go elsewhere when `new` replaces `old`; None for all of them."""
    before, after = set(old), set(new)
    changed = before ^ after
    if len(changed) > MOST_COMPARED:
        return None
    near = [one for one in before | after if any(_overlap(one, other) for other in changed)]
    return {unit for one in near for unit, _ in one.choices}


def _overlap(one: UnitRoute, other: UnitRoute) -> bool:
    if one.host is not None and other.host is not None and one.host != other.host:
        return False
    return below(one.prefix, other.prefix) or below(other.prefix, one.prefix)


class Quota:
    """Reserved concurrency of one function: how many of its requests are in progress, of how many at most."""

    __slots__ = ("limit", "used")

    def __init__(self) -> None:
        self.limit: int | None = None
        self.used = 0

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return self.limit is not None and self.used >= self.limit

    def take(self) -> bool:
        """Count one more; False where that would be too many."""
        if self.full:
            return False
        self.used += 1
        return True

    def give_back(self) -> None:
        """One of them is over."""
        self.used -= 1
