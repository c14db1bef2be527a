"""Notes what an app draws at random while it is initialised, so that a snapshot which holds it can say so.

The functions of `secrets`, `uuid`, `os.urandom` and `random` are wrapped as by `kept.recorder`; what
generators of one's own give is not seen.
"""

from __future__ import annotations

import os
import random
import secrets
import uuid
from collections.abc import Callable
from typing import Any

from snapfork.runner.processes.origins import STANDS_FOR, caller

MOST = 10_000
_FUNCTIONS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (secrets, ("token_bytes", "token_hex", "token_urlsafe", "randbits")),
    (uuid, ("uuid1", "uuid4")),
    (os, ("urandom",)),
    (random, ("random", "uniform", "gauss", "randint", "randrange", "getrandbits", "randbytes")),
)
_TELLING = (str, bytes, float, int, uuid.UUID)


class Draws:
    """notes: value -> how it was drawn, "drawn at random (secrets.token_hex, shop.py:7)"."""

    def __init__(self) -> None:
        self.notes: dict[Any, str] = {}
        self._undo: list[Callable[[], None]] = []

    def install(self) -> None:
        """Start noting. Call before user code is imported."""
        for owner, names in _FUNCTIONS:
            for name in names:
                self._wrap(owner, name)

    def remove(self) -> None:
        """Stop noting; what was noted stays. Does nothing if not installed."""
        while self._undo:
            self._undo.pop()()

    def _wrap(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            value = original(*args, **kwargs)
            if self._undo and isinstance(value, _TELLING) and len(self.notes) < MOST:
                origin = caller(2)
                said = f"{owner.__name__}.{name}" + (f", {origin}" if origin else "")
                self.notes.setdefault(value, f"drawn at random ({said})")
            return value

        wrapper.__name__ = wrapper.__qualname__ = name
        wrapper.__doc__ = original.__doc__
        wrapper.__dict__[STANDS_FOR] = original

        def undo() -> None:
            if vars(owner).get(name) is wrapper:
                setattr(owner, name, original)

        setattr(owner, name, wrapper)
        self._undo.append(undo)
