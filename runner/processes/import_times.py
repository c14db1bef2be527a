"""What importing an app costs, by top-level package: time and resident memory, exclusive of other packages.

Only for `runner doctor`: while it records, each import statement costs a few microseconds more.
"""

from __future__ import annotations

import builtins
import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

from snapfork.runner.processes import memory


class ImportTimes:
    """Records between `start` and `stop`; `slowest` tells."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._bytes: dict[str, int] = {}
        self._children: list[list[float]] = []
        self._undo: list[Callable[[], None]] = []

    def start(self) -> None:
        """Wrap the import statement and importlib.import_module."""
        plain_import, plain_module = builtins.__import__, importlib.import_module

        def import_statement(
            name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
        ) -> Any:
            if level or name in sys.modules:
                return plain_import(name, globals, locals, fromlist, level)
            return self._timed(name, lambda: plain_import(name, globals, locals, fromlist, level))

        def import_module(name: str, package: str | None = None) -> Any:
            if name.startswith(".") or name in sys.modules:
                return plain_module(name, package)
            return self._timed(name, lambda: plain_module(name, package))

        builtins.__import__ = import_statement
        importlib.import_module = import_module

        def undo() -> None:
            builtins.__import__ = plain_import
            importlib.import_module = plain_module

        self._undo.append(undo)

    def stop(self) -> None:
        """Put the plain import statement back."""
        while self._undo:
            self._undo.pop()()

    def slowest(self, count: int = 15) -> list[dict[str, Any]]:
        """The `count` slowest packages: [{"package", "ms", "mb"}], slowest first."""
        order = sorted(self._seconds, key=lambda name: -self._seconds[name])[:count]
        return [
            {
                "package": name,
                "ms": round(self._seconds[name] * 1000, 1),
                "mb": round(max(self._bytes[name], 0) / 1e6, 1),
            }
            for name in order
        ]

    def _timed(self, name: str, run: Callable[[], Any]) -> Any:
        package = name.partition(".")[0]
        inner = [0.0, 0.0]
        self._children.append(inner)
        rss, begun = memory.rss_bytes(), time.perf_counter()
        try:
            return run()
        finally:
            seconds, grown = time.perf_counter() - begun, memory.rss_bytes() - rss
            self._children.pop()
            self._seconds[package] = self._seconds.get(package, 0.0) + seconds - inner[0]
            self._bytes[package] = self._bytes.get(package, 0) + grown - int(inner[1])
            if self._children:
                self._children[-1][0] += seconds
                self._children[-1][1] += grown
