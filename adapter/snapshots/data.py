"""The data of modules that travel by reference: laid over them after they have been imported again.

Data is what consists of plain values, of objects of the user's own classes, and of what libraries for numbers
make; not what a framework keeps a register of, or what was made from functions.
"""

from __future__ import annotations

import io
import sys
import types
from typing import Any

from snapfork.adapter.snapshots.names import Names
from snapfork.adapter.snapshots.ownership import Ownership
from snapfork.adapter.snapshots.pickling import Pickler

_PLAIN = (str, bytes, int, float, complex, bool, type(None))
_CODE = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)
_OF_DATA = {
    "builtins", "collections", "copyreg", "datetime", "decimal", "fractions", "ipaddress", "numpy", "pandas",
    "pathlib", "re", "scipy", "sklearn", "types", "uuid", "zoneinfo",
}  # fmt: skip
_HEAP_TYPE = 1 << 9
_PLAIN_SIZE = type("_", (), {}).__basicsize__
_BASES = {"abc", "builtins", "collections", "enum", "typing"}


class _NotData(Exception):
    """Raised where a graph leads to something else than data."""


class _Trial(Pickler):
    """Pickles to nowhere, and refuses what is not data."""

    def __init__(self, ownership: Ownership, names: Names, own: set[str]) -> None:
        super().__init__(io.BytesIO(), ownership, names, self._refuse, lambda _: None)
        self._own = own

    def _refuse(self, thing: Any, why: str) -> Any:
        raise _NotData(why)

    def reducer_override(self, thing: Any) -> Any:
        kind = type(thing)
        if not issubclass(type(thing), _CODE) and not self._is_data(kind):
            raise _NotData(str(kind))
        reduced = super().reducer_override(thing)
        if issubclass(type(thing), _CODE) and isinstance(reduced, tuple):
            raise _NotData("code that has no name")
        return reduced

    def _is_data(self, kind: type) -> bool:
        if kind.__module__ in self._own:
            return all(base.__module__ in self._own | _BASES for base in kind.__mro__)
        return kind.__module__.partition(".")[0] in _OF_DATA


def of(modules: dict[str, types.ModuleType], ownership: Ownership, names: Names) -> dict[str, dict[str, Any]]:
    """Module -> name -> value, for what is to be laid over `modules`."""
    own = set(modules)
    verdicts: dict[int, bool] = {}

    def is_data(value: Any) -> bool:
        found = names.of(value)
        if issubclass(type(value), _CODE) or (found is not None and found[0] not in own):
            return False  # a library's stays the library's
        if type(value) in _PLAIN:
            return True
        if id(value) not in verdicts:
            verdicts[id(value)] = _passes(_Trial(ownership, names, own), value)
        return verdicts[id(value)]

    return {
        module: {
            name: value for name, value in vars(there).items() if not name.startswith("__") and is_data(value)
        }
        for module, there in modules.items()
    }


def _passes(trial: _Trial, value: Any) -> bool:
    try:
        with trial.by_value([value]):
            trial.dump(value)
    except Exception:  # user code runs in here; what cannot be pickled is as the import makes it
        return False
    return True


def is_filled(kind: type) -> bool:
    """Whether an object of the imported module is given the contents, because others may hold it already."""
    if kind in (dict, list, set):
        return True
    is_users = kind.__module__ not in sys.stdlib_module_names and kind.__flags__ & _HEAP_TYPE
    new: Any = kind.__new__
    plain = new is object.__new__ and kind.__dictoffset__ and kind.__basicsize__ <= _PLAIN_SIZE
    return bool(is_users and plain)


def filled(values: dict[str, dict[str, Any]]) -> dict[int, tuple[str, str]]:
    """Of such values, id -> the module and name that it is known by."""
    found: dict[int, tuple[str, str]] = {}
    for module, named in values.items():
        for name, value in named.items():
            if is_filled(type(value)):
                found.setdefault(id(value), (module, name))
    return found


def contents(values: dict[str, dict[str, Any]]) -> dict[tuple[str, str], Any]:
    """(module, name) -> a copy of each value that is filled, one level deep."""
    return {place: _copy(values[place[0]][place[1]]) for place in filled(values).values()}


def _copy(value: Any) -> Any:
    made = empty(type(value))
    fill(made, value)
    return made


def empty(kind: Any) -> Any:
    return kind() if kind in (dict, list, set) else object.__new__(kind)


def fill(there: Any, value: Any) -> None:
    """Make `there` hold what `value` holds."""
    if type(value) is list:
        there[:] = value
        return
    into, out = (there, value) if isinstance(value, (dict, set)) else (vars(there), vars(value))
    into.clear()
    into.update(out)
