"""`functools.lru_cache`: made anew, empty, or with its contents where the user has asked for them."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator
from typing import Any

from snapfork.adapter.hooks import CAPTURED
from snapfork.adapter.snapshots import rebuild
from snapfork.adapter.snapshots.errors import Refused

_MADE_ANEW = ("__wrapped__", "cache_parameters")
Call = tuple[tuple[Any, ...], dict[str, Any], Any]


def reduce(cache: Any) -> Any:
    """What `__reduce__` of an lru_cache would return. Raises Refused if its contents cannot be read."""
    options = cache.cache_parameters()
    attributes = {name: value for name, value in vars(cache).items() if name not in _MADE_ANEW}
    calls = list(contents(cache)) if CAPTURED in attributes else []
    arguments = (cache.__wrapped__, options["maxsize"], options["typed"])
    return (rebuild.make_cached, arguments, (attributes, calls), None, None, rebuild.fill_cached)


def contents(cache: Any) -> Iterator[Call]:
    """(arguments, keyword arguments, result) of what is held, least recently used first.

    C code keeps it; what the garbage collector sees of it (Modules/_functoolsmodule.c) is, after the type,
    for each entry of a bounded cache key, result and type, then the dict of all, the function and the mark
    between the positional and the keyword arguments of a key.
    """
    options, size = cache.cache_parameters(), cache.cache_info().currsize
    if size == 0:
        return
    seen = gc.get_referents(cache)
    at = 1 if options["maxsize"] is None else 1 + 3 * size
    if len(seen) < at + 3 or type(seen[at]) is not dict or len(seen[at]) != size:
        raise Refused("what it holds cannot be read in this Python")
    mark = seen[at + 2]
    if options["maxsize"] is None:
        pairs = list(seen[at].items())
    else:
        pairs = [(seen[place], seen[place + 1]) for place in range(1, at, 3)]
    for key, result in pairs:
        yield (*_arguments(key, mark, options["typed"]), result)


def _arguments(key: Any, mark: object, typed: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if type(key) is not tuple:
        return (key,), {}  # one str or int stands for itself
    place = next((index for index, part in enumerate(key) if part is mark), None)
    if place is None:
        return (key[: len(key) // 2] if typed else key), {}
    named = key[place + 1 :]
    if typed:
        named = named[: 2 * ((len(named) - place) // 3)]
    return key[:place], dict(zip(named[::2], named[1::2], strict=True))


def is_cache(kind: type) -> bool:
    """Whether objects of `kind` are what functools.lru_cache returns."""
    return kind is functools._lru_cache_wrapper
