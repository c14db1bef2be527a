"""Which function a request is for: the one pure function that gateway and instances share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Route(NamedTuple):
    """`function` owns what is below `prefix` ("" is everything) of `host` (None is every host)."""

    host: str | None
    prefix: str
    function: str


class Place(NamedTuple):
    """What a loan is for: the requests to `host` (None is every host) below `prefix`.

    strip: whether the prefix is the app's mount, or a part of its path. fields: header lines that go into the
    answer, each with its end of line.
    """

    host: str | None
    prefix: str
    strip: bool
    fields: str = ""

    def pack(self) -> bytes:
        """As it travels in a loan."""
        host = "*" if self.host is None else self.host  # no host is called so
        return f"{int(self.strip)}{host}\0{self.prefix}\0{self.fields}".encode("latin-1")

    @classmethod
    def unpack(cls, data: bytes) -> Place:
        """Inverse of `pack`."""
        host, prefix, fields = data.decode("latin-1").split("\0")
        return cls(None if host[1:] == "*" else host[1:], prefix, host[0] == "1", fields)

    def mount(self, host: str, path: str) -> str | None:
        """The mount of a request that is for this place, None for one that is not."""
        if (self.host is not None and self.host != host) or not below(path, self.prefix):
            return None
        return self.prefix if self.strip else ""


def below(path: str, prefix: str) -> bool:
    """Whether `path` is `prefix` or under it; a prefix matches whole segments only."""
    return not prefix or path == prefix or path.startswith(prefix + "/")


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
