"""Which pages of other origins may call a function at an address, and read its answers. Pure.

The rules are those of a Lambda function URL's Cors and of FC's corsConfig; what they say is told to the
browser (fetch.spec.whatwg.org, "CORS protocol"), which holds the page to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

Fields = tuple[tuple[bytes, bytes], ...]
"""Header lines of an answer."""
PREFIX = "access-control-"


class Cors(NamedTuple):
    """The rules of one address; "*" in a list is everything."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    exposed: tuple[str, ...]
    credentials: bool
    max_age: int


def packed(members: Mapping[str, Any]) -> str:
    """A configuration of either dialect as it travels with a route; "" for none."""
    said = {name[:1].lower() + name[1:]: value for name, value in members.items() if value}
    return json.dumps(said, sort_keys=True) if said else ""


@lru_cache(maxsize=256)
def unpacked(text: str) -> Cors:
    """Inverse of `packed`."""
    said = json.loads(text)
    return Cors(
        _words(said.get("allowOrigins", ())),
        _words(said.get("allowMethods", ())),
        _words(said.get("allowHeaders", ())),
        _words(said.get("exposeHeaders", ())),
        bool(said.get("allowCredentials")),
        int(said.get("maxAge", 0)),
    )


def of_answer(rules: Cors, origin: str) -> Fields:
    """What an answer to a page of `origin` says besides the function's own headers; never nothing."""
    if not _allows(rules.origins, origin):
        return ((b"vary", b"Origin"),)
    found = [*_common(rules, origin)]
    if rules.exposed:
        found.append((b"access-control-expose-headers", ",".join(rules.exposed).encode("latin-1")))
    return tuple(found)


def of_preflight(rules: Cors, origin: str, method: str, headers: str) -> Fields:
    """The answer to a browser that asks before a request by `method` with `headers` of its own."""
    if not _allows(rules.origins, origin) or not _allows(rules.methods, method):
        return ()
    found = [*_common(rules, origin), (b"access-control-allow-methods", method.encode("latin-1"))]
    wanted = [name.strip().lower() for name in headers.split(",") if name.strip()]
    allowed = [name for name in wanted if _allows(rules.headers, name)]
    if allowed:
        found.append((b"access-control-allow-headers", ",".join(allowed).encode("latin-1")))
    if rules.max_age:
        found.append((b"access-control-max-age", b"%d" % rules.max_age))
    return tuple(found)


def _common(rules: Cors, origin: str) -> Iterable[tuple[bytes, bytes]]:
    if "*" in rules.origins and not rules.credentials:
        yield b"access-control-allow-origin", b"*"
    else:
        yield b"access-control-allow-origin", origin.encode("latin-1")
        yield b"vary", b"Origin"
    if rules.credentials:
        yield b"access-control-allow-credentials", b"true"


def _allows(words: tuple[str, ...], word: str) -> bool:
    return "*" in words or word.lower() in (one.lower() for one in words)


def _words(said: Iterable[str]) -> tuple[str, ...]:
    """Those that may stand in a header line."""
    return tuple(one for one in said if one.isascii() and one.isprintable())
