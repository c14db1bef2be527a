"""Objects that belong to modules which travel by reference, found again there by name.

A library's locks, context variables, sentinels, registries and loggers are its own: a snapshot names them
("flask.globals", "_cv_app"), and the process that restores it uses what its own copy of the library has.
"""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import Any

from snapfork.adapter.snapshots import deposits
from snapfork.adapter.snapshots.ownership import Ownership

# Equal copies do, or they have names of their own.
_PLAIN = (int, float, complex, str, bytes, bool, type(None), type, FunctionType, ModuleType, tuple)


class Names:
    """An index of what modules by reference hold, by identity; made once per snapshot."""

    def __init__(self, ownership: Ownership) -> None:
        self._found: dict[int, tuple[str, str]] = {}
        self._globals: dict[int, str] = {}
        self._keep: list[Any] = []  # an id means something only while its object lives
        for name, module in list(sys.modules.items()):
            if not isinstance(module, ModuleType):
                continue
            if module.__name__ == "__main__" and not ownership.is_users(module):
                continue  # whoever calls, also by multiprocessing's name for it
            namespace = vars(module)
            if vars(module) is not namespace:
                continue  # made up for each look: cffi's libraries
            self._globals.setdefault(id(namespace), name)
            if ownership.is_users(module):
                continue
            for attribute, thing in list(namespace.items()):
                # Not isinstance, which would ask lazy objects what they stand for.
                if issubclass(type(thing), type):
                    if thing.__module__ in sys.modules:
                        continue  # has a name of its own; some of C name a module that no import finds
                elif type(thing) in _PLAIN:
                    continue
                known = self._found.get(id(thing))
                if known is None or getattr(thing, "__module__", None) == name:
                    self._found[id(thing)] = (name, attribute)
                    self._keep.append(thing)

    def of(self, thing: object) -> tuple[str, str] | None:
        """(module, attribute) of a library's object, else None: also for one that was put there later."""
        found = self._found.get(id(thing))
        return found if found is None or not deposits.is_installed(*found) else None

    def module_of_globals(self, namespace: dict[str, Any]) -> str | None:
        """The module whose globals `namespace` is, by value or by reference."""
        return self._globals.get(id(namespace))
