"""What an app has put into the registers of libraries: filters, converters, collectors, handlers.

A library keeps such things in a dict, a list or a set of a module, of a class, or of an object that a module
holds. What lies there and is captured anyhow, because the app's own modules hold it or it is the app's code,
is put there again.
"""

from __future__ import annotations

import functools
import re
import sys
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, NamedTuple

from snapfork.adapter.snapshots.ownership import Ownership

_LISTS = (list, deque)
_SETS = (set, weakref.WeakSet)
_MAPPINGS = (dict, weakref.WeakValueDictionary, weakref.WeakKeyDictionary)
_PLAIN = (
    str, bytes, int, float, complex, bool, type(None), frozenset, types.CodeType, types.ModuleType,
    re.Pattern, types.GenericAlias, types.UnionType, types.BuiltinFunctionType,
)  # fmt: skip
_BY_NAME = (type, tuple, types.FunctionType)
"""Of libraries these are named, and not captured."""
_OF_THE_STANDARD_LIBRARY = {"email", "json", "sqlite3", "urllib"}
"""Of its other modules, what is in their registers is of this process: threads, handlers, caches."""
_NOT_LOOKED_INTO = {"_pytest", "cloudpickle", "hypothesis", "pluggy", "pytest", "snapfork"}
_WITH_RULES = ("blinker._", "sqlalchemy.event", "sqlalchemy.orm")
"""What these keep is made again by those who know how: `listeners`, `rebuild`."""
_ADDRESS = 2**20
"""Keys from here on are perhaps an id(), which is another there."""
_DEPTH = 2


class Deposit(NamedTuple):
    """steps: from the module, attributes (".name") and keys (in a tuple). how: "key" where there is none yet,
    "set" in any case, "append" or "add"."""

    module: str
    steps: tuple[Any, ...]
    how: str
    key: Any
    value: Any

    def place(self) -> str:
        """As one would write it."""
        parts = [step if isinstance(step, str) else f"[{step[0]!r}]" for step in self.steps]
        return "".join([self.module, *parts])


class _Register(NamedTuple):
    module: str
    steps: tuple[Any, ...]
    holds: Any


def find(ownership: Ownership, is_captured: Callable[[Any], bool]) -> list[Deposit]:
    """What is to be put into libraries again."""
    users = {id(vars(one)) for one in ownership.modules().values()}
    names = set(ownership.modules())

    def is_users(thing: Any) -> bool:
        """Whether it is the app's own code, or made by that."""
        kind = type(thing)
        if kind is tuple:
            return any(is_users(part) for part in thing)
        if kind is types.FunctionType:
            return id(thing.__globals__) in users
        if kind is types.MethodType:
            return is_users(thing.__func__)
        if kind is functools.partial:
            return is_users(thing.func)
        return _module_of(thing if issubclass(kind, type) else kind) in names

    def is_one(thing: Any) -> bool:
        if is_users(thing):
            return True
        if issubclass(type(thing), (*_PLAIN, *_BY_NAME)):
            return False
        hashed: Any = type(thing).__hash__
        return hashed is object.__hash__ and is_captured(thing)  # of others, what is equal will do

    if not users:
        return []
    seen: set[int] = set()
    found: list[Deposit] = []
    for name, module in list(sys.modules.items()):
        if isinstance(module, types.ModuleType) and module.__name__ == name and _is_library(name, ownership):
            for register in _registers(module, seen, is_captured):
                found += _held(register, is_one, is_users)
            found += [
                Deposit(name, (), "key", f".{attribute}", value)
                for attribute, value in list(vars(module).items())
                if is_one(value) and is_installed(name, attribute)
            ]
    return found


def _is_library(name: str, ownership: Ownership) -> bool:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names and top not in _OF_THE_STANDARD_LIBRARY:
        return False
    if name.startswith(_WITH_RULES):
        return False
    return name != "__main__" and top not in _NOT_LOOKED_INTO and not ownership.is_users(sys.modules[name])


def _module_of(cls: Any) -> str:
    name = cls.__module__  # of some classes in C it is what their objects have
    return name if isinstance(name, str) else ""


def _registers(
    module: types.ModuleType, seen: set[int], is_captured: Callable[[Any], bool]
) -> Iterator[_Register]:
    """The containers of a module, of its classes and of the objects that it holds."""
    name = module.__name__
    top = name.partition(".")[0]
    for attribute, value in list(vars(module).items()):
        kind = type(value)  # not isinstance, which would ask lazy objects what they stand for
        if attribute.startswith("__") or issubclass(kind, _PLAIN) or id(value) in seen or is_captured(value):
            continue
        if issubclass(kind, (*_LISTS, *_SETS, *_MAPPINGS)):
            yield from _nested(_Register(name, (f".{attribute}",), value), seen, 0)
            continue
        is_class = issubclass(kind, type)
        if _module_of(value if is_class else kind).partition(".")[0] != top:
            continue
        seen.add(id(value))
        try:
            inside = dict(vars(value) if is_class else object.__getattribute__(value, "__dict__"))
        except (AttributeError, TypeError):
            continue
        for one, held in inside.items():
            if issubclass(type(held), (*_LISTS, *_SETS, *_MAPPINGS)) and not one.startswith("__"):
                yield from _nested(_Register(name, (f".{attribute}", f".{one}"), held), seen, 0)


def _nested(register: _Register, seen: set[int], depth: int) -> Iterator[_Register]:
    if id(register.holds) in seen:
        return
    seen.add(id(register.holds))
    yield register
    if depth < _DEPTH and issubclass(type(register.holds), dict):
        for key, value in list(dict.items(register.holds)):
            if issubclass(type(value), (*_LISTS, *_SETS, *_MAPPINGS)) and type(key) in (str, int, tuple):
                inner = _Register(register.module, (*register.steps, (key,)), value)
                yield from _nested(inner, seen, depth + 1)


def _held(
    register: _Register, is_one: Callable[[Any], bool], is_users: Callable[[Any], bool]
) -> Iterator[Deposit]:
    module, steps, holds = register
    if issubclass(type(holds), _MAPPINGS):
        for key, value in list(holds.items()):
            if type(key) is int and key >= _ADDRESS:
                continue
            if is_one(value) or is_one(key):
                yield Deposit(module, steps, "set" if is_users(value) else "key", key, value)
        return
    how = "append" if issubclass(type(holds), _LISTS) else "add"
    for value in list(holds):
        if is_users(value):  # a copy of the library's own is there already
            yield Deposit(module, steps, how, None, value)


def put(deposit: Deposit, module: types.ModuleType) -> None:
    """Put it there again, unless the library has its own there."""
    holder: Any = module
    for step in deposit.steps:
        holder = holder[step[0]] if type(step) is tuple else getattr(holder, step[1:])
    key, value = deposit.key, deposit.value
    if holder is module:
        setattr(module, key[1:], value)
    elif isinstance(holder, MutableMapping):
        if deposit.how == "set" or key not in holder:
            holder[key] = value
    elif deposit.how == "add":
        holder.add(value)
    elif not any(one is value for one in holder):
        holder.append(value)


_sources: dict[str, str] = {}


def is_installed(module: str, attribute: str) -> bool:
    """Whether the library's own source has None under this name: somebody has set it since."""
    if module not in _sources:
        file = getattr(sys.modules[module], "__file__", None) or ""
        try:
            with open(file if file.endswith(".py") else "", encoding="utf-8") as source:
                _sources[module] = source.read()
        except (OSError, ValueError):
            _sources[module] = ""
    pattern = rf"^{re.escape(attribute)}\s*(?::[^=\n]*)?=\s*None\s*(?:#.*)?$"
    return re.search(pattern, _sources[module], re.MULTILINE) is not None
