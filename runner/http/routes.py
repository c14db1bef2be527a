"""Which function a request is for: the one pure function that gateway and instances share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Route(NamedTuple):
    """`function` owns what is below `prefix` ("" is everything) of `host` (None is every host)."""

    host: str | None
    prefix: str
    function: str


class Routes:
    """A table of routes; those of a named host go before those of any, longer prefixes before shorter."""

    def __init__(self, routes: Iterable[Route | dict[str, Any]]) -> None:
        table = [
            one if isinstance(one, Route) else Route(one["host"], one["prefix"], one["function"])
            for one in routes
        ]
        self.routes = sorted(table, key=lambda one: (one.host is None, -len(one.prefix)))
        self.sole = len(table) == 1 and table[0].host is None and not table[0].prefix

    def match(self, host: str, path: str) -> Route | None:
        """The route for a lower-case host and a decoded path; a prefix matches whole segments only."""
        for one in self.routes:
            if one.host is not None and one.host != host:
                continue
            prefix = one.prefix
            if not prefix or path == prefix or path.startswith(prefix + "/"):
                return one
        return None
