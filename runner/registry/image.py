"""The registry in memory: what every read, and every request, is answered from.

Belongs to the event loop's thread. It is changed only after the same change is on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

from snapfork.runner.registry.model import (
    Alias,
    AsyncConfig,
    Function,
    FunctionUrl,
    ProvisionConfig,
    Trigger,
    Version,
)
from snapfork.runner.registry.rows import TABLES, Fallback, Key, key_of

T = TypeVar("T")
OF_FUNCTIONS: tuple[type[Any], ...] = (
    *(Version, Fallback, Alias, AsyncConfig),
    *(ProvisionConfig, FunctionUrl, Trigger),
)
"""Kinds that belong to a function, and go with it."""


class Image:
    """Things by kind and key; those of functions also by kind and function."""

    def __init__(self, things: Iterable[Any] = ()) -> None:
        self._all: dict[type, dict[Key, Any]] = {kind: {} for kind in TABLES}
        self._of: dict[type, dict[str, dict[Key, Any]]] = {kind: {} for kind in OF_FUNCTIONS}
        self._changes: Counter[str] = Counter()
        for thing in things:
            self.put(thing)

    def put(self, thing: Any) -> None:
        kind, key = type(thing), key_of(thing)
        self._all[kind][key] = thing
        self._changes[_function_of(thing)] += 1
        if kind in self._of:
            self._of[kind].setdefault(thing.function, {})[key] = thing

    def delete(self, thing: Any) -> None:
        kind, key = type(thing), key_of(thing)
        self._all[kind].pop(key, None)
        self._changes[_function_of(thing)] += 1
        if kind in self._of:
            self._of[kind].get(thing.function, {}).pop(key, None)

    def changes(self, function: str) -> int:
        """How often something of a function has changed: the same number, the same function."""
        return self._changes[function]

    def get(self, kind: type[T], *key: Any) -> T | None:
        """The thing of that key, or None."""
        found: T | None = self._all[kind].get(key)
        return found

    def all(self, kind: type[T]) -> list[T]:
        """All of a kind, in the order of their keys."""
        return [self._all[kind][key] for key in sorted(self._all[kind])]

    def of(self, kind: type[T], function: str) -> list[T]:
        """A function's things of a kind, in the order of their keys."""
        found = self._of[kind].get(function, {})
        return [found[key] for key in sorted(found)]

    def functions(self) -> list[Function]:
        return self.all(Function)


def _function_of(thing: Any) -> str:
    """Whose a thing is; "" for what is no function's."""
    if isinstance(thing, Function):
        return thing.name
    return thing.function if type(thing) in OF_FUNCTIONS else ""
