"""Finding live objects of given classes: one pass over what the garbage collector tracks."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any


def known(module: str, name: str) -> type | None:
    """The class `name` of `module` if the app has imported that module, else None; imports nothing."""
    loaded = sys.modules.get(module)
    found = getattr(loaded, name, None) if loaded is not None else None
    return found if isinstance(found, type) else None


def family(cls: type) -> set[type]:
    """`cls` and every subclass of it that exists now."""
    found: set[type] = {cls}
    queue: list[type] = [cls]
    while queue:
        child: type
        for child in type.__subclasses__(queue.pop()):
            if child not in found:
                found.add(child)
                queue.append(child)
    return found


def census(wanted: Mapping[str, type]) -> dict[str, list[Any]]:
    """For each name in `wanted` the live instances of its class, subclasses included.

    Objects that were moved to the permanent generation by `gc.freeze` are not seen.
    """
    names: dict[type, list[str]] = {}
    for name, cls in wanted.items():
        for member in family(cls):
            names.setdefault(member, []).append(name)
    found: dict[str, list[Any]] = {name: [] for name in wanted}
    if not names:
        return found
    # type() and a set test for each object: isinstance() would run code of lazy proxies.
    for thing in gc.get_objects():
        hits = names.get(type(thing))
        if hits is not None:
            for name in hits:
                found[name].append(thing)
    return found


def instances(*classes: type | None) -> list[Any]:
    """The live instances of all `classes` (None is skipped)."""
    present = {str(number): cls for number, cls in enumerate(classes) if cls is not None}
    return [thing for things in census(present).values() for thing in things]


def holder(thing: object, modules: Iterable[str]) -> str:
    """Where one of `modules` holds `thing`: "shop.client" or "shop.db.engine"; "" if none does."""
    for name in modules:
        namespace = getattr(sys.modules.get(name), "__dict__", None)
        if not namespace:
            continue
        for key, value in list(namespace.items()):
            if value is thing:
                return f"{name}.{key}"
            for inner, held in list(_attributes(value).items()):
                if held is thing:
                    return f"{name}.{key}.{inner}"
    return ""


def _attributes(value: object) -> dict[str, object]:
    # Past __getattr__ and __class__ of lazy proxies, which may raise.
    if issubclass(type(value), (type, ModuleType)):
        return {}
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}
