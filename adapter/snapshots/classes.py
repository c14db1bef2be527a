"""How a user's classes travel: made empty, without the code of their metaclass and bases, then filled.

cloudpickle makes them as a `class` statement would. But a registering `__init_subclass__` or metaclass would
register them a second time, and would do so in a module that is not filled yet.
"""

from __future__ import annotations

import enum
import types
import typing
from typing import Any

from cloudpickle import cloudpickle as internals
from snapfork.adapter.snapshots import rebuild

_MADE_BY_ENUM = (
    "_generate_next_value_", "_member_names_", "_member_map_", "_member_type_", "_value2member_map_",
    "_hashable_values_", "_unhashable_values_", "_unhashable_values_map_",
)  # fmt: skip
_OF_A_MEMBER = {"_value_", "_name_", "__objclass__", "_sort_order_"}
_CODE = (types.FunctionType, staticmethod, classmethod, property)


class _Step:
    """Something that is done while a state is read, between its parts."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self._reduced


def reduce(cls: Any) -> Any:
    """What `__reduce__` of a class would return."""
    if issubclass(cls, enum.Enum):
        return _enum(cls)
    made_with, name, bases, body, *_ = internals._class_getnewargs(cls)
    if typing.NamedTuple in bases:
        bases = cls.__bases__  # what a named tuple is made of is in its state
    slots = cls.__dict__.get("__slots__")
    if isinstance(slots, (str, tuple, list)):
        body["__slots__"] = (slots,) if isinstance(slots, str) else tuple(slots)
    state, _ = internals._class_getstate(cls)
    arguments = (made_with, name, bases, body)
    return (rebuild.make_class, arguments, _in_steps(cls, state), None, None, rebuild.fill_class)


def _in_steps(cls: Any, state: dict[str, Any]) -> list[Any]:
    """Methods come first: what is hashed or compared while the rest is read needs them."""
    code = {name: value for name, value in state.items() if issubclass(type(value), _CODE)}
    data = {name: value for name, value in state.items() if name not in code}
    return [_Step(rebuild.fill_class_early, cls, code), data]


def _enum(cls: Any) -> Any:
    members = {name: member.value for name, member in cls.__members__.items()}
    state, _ = internals._class_getstate(cls)
    for name in (*_MADE_BY_ENUM, *members):
        state.pop(name, None)
    own = {name: _own(member) for name, member in cls.__members__.items()}
    arguments = (type(cls), cls.__name__, cls.__bases__, cls.__module__, cls.__qualname__, members)
    parts = [*_in_steps(cls, state), {name: values for name, values in own.items() if values}]
    return (rebuild.make_enum, arguments, parts, None, None, rebuild.fill_enum)


def _own(member: Any) -> dict[str, Any]:
    """What the class's __new__ or __init__, or later code, has given a member."""
    return {name: value for name, value in vars(member).items() if name not in _OF_A_MEMBER}
