"""What a user's modules have put into libraries: replaced functions, registered classes, implementations."""

from __future__ import annotations

import abc
import copyreg
import sys
import types
from collections.abc import Collection, Iterator
from typing import Any

from snapfork.adapter.snapshots.ownership import Ownership


def capture(ownership: Ownership) -> dict[str, list[Any]]:
    """What `apply` takes. Modules by reference put theirs there again when they are imported."""
    users = {id(vars(module)): name for name, module in ownership.modules().items()}
    names = set(users.values())
    found: dict[str, list[Any]] = {"attributes": [], "registered": [], "dispatched": [], "reduced": []}
    if not users:
        return found
    for module in _libraries(ownership):
        for name, value in list(vars(module).items()):
            kind = type(value)  # not isinstance, which would ask lazy objects what they stand for
            if kind is types.FunctionType:
                if id(value.__globals__) in users:
                    found["attributes"].append((module, name, value))
                elif "registry" in value.__dict__:
                    found["dispatched"] += _dispatched(value, users, names)
            elif issubclass(kind, type) and value.__module__ in names:
                found["attributes"].append((module, name, value))
            elif issubclass(kind, type) and value.__module__ == module.__name__:
                found["attributes"] += _patched(value, users)
                found["registered"] += [(value, one) for one in _registered(value) if one.__module__ in names]
    table = copyreg.dispatch_table
    found["reduced"] = [(kind, how) for kind, how in table.items() if kind.__module__ in names]
    return found


def apply(found: dict[str, list[Any]]) -> None:
    """Put it there again."""
    for holder, name, value in found["attributes"]:
        setattr(holder, name, value)
    for base, one in found["registered"]:
        base.register(one)
    for function, kind, implementation in found["dispatched"]:
        function.register(kind, implementation)
    for kind, how in found["reduced"]:
        copyreg.pickle(kind, how)


def _libraries(ownership: Ownership) -> Iterator[types.ModuleType]:
    for name, module in list(sys.modules.items()):
        if not isinstance(module, types.ModuleType) or module.__name__ != name or name == "__main__":
            continue
        if not ownership.is_users(module) and not name.startswith(("snapfork.", "cloudpickle")):
            yield module


def _patched(cls: type, users: dict[int, str]) -> Iterator[tuple[type, str, Any]]:
    for name, value in list(vars(cls).items()):
        kind = type(value)
        if kind in (staticmethod, classmethod):
            code = value.__func__
        else:
            code = value.fget if kind is property else value
        if type(code) is types.FunctionType and id(code.__globals__) in users:
            yield cls, name, value


def _registered(cls: type) -> list[type]:
    """The virtual subclasses of an abstract class."""
    if not isinstance(cls, abc.ABCMeta):
        return []
    try:
        references = abc._get_dump(cls)[0]  # type: ignore[attr-defined]
    except (TypeError, AttributeError):  # a metaclass that only looks like one
        return []
    return [one for reference in references if (one := reference()) is not None]


def _dispatched(
    function: Any, users: dict[int, str], names: Collection[str]
) -> Iterator[tuple[Any, Any, Any]]:
    """Implementations that a functools.singledispatch function of a library was given."""
    registry = function.__dict__["registry"]
    if isinstance(registry, types.MappingProxyType) and hasattr(function, "register"):
        for kind, implementation in registry.items():
            space = getattr(implementation, "__globals__", None)
            if id(space) in users or getattr(kind, "__module__", None) in names:
                yield function, kind, implementation
