"""Reducers for what `typing` makes in a user's module and pickle would look up there by its name.

The module is being filled when they come back, so the name does not lead to them yet.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

from snapfork.adapter.snapshots import rebuild

_VARIANCE = {"covariant": "__covariant__", "contravariant": "__contravariant__"}
_LATER = {"infer_variance": "__infer_variance__", "default": "__default__"}
"""Options of newer Pythons."""


def _options(variable: Any, names: dict[str, str]) -> dict[str, Any]:
    found = {option: getattr(variable, name, None) for option, name in names.items()}
    none = getattr(typing, "NoDefault", None)
    return {option: value for option, value in found.items() if value and value is not none}


def _type_var(variable: Any) -> Any:
    options = _options(variable, {"bound": "__bound__", **_VARIANCE, **_LATER})
    parts = (type(variable), variable.__name__, variable.__constraints__, options, variable.__module__)
    return (rebuild.make_type_variable, parts)


def _param_spec(variable: Any) -> Any:
    options = _options(variable, {"bound": "__bound__", **_VARIANCE, **_LATER})
    return (rebuild.make_type_variable, (type(variable), variable.__name__, (), options, variable.__module__))


def _type_var_tuple(variable: Any) -> Any:
    options = _options(variable, {"default": "__default__"})
    return (rebuild.make_type_variable, (type(variable), variable.__name__, (), options, variable.__module__))


def _new_type(kind: Any) -> Any:
    name, supertype, module = kind.__qualname__, kind.__supertype__, kind.__module__
    return (rebuild.make_type_variable, (type(kind), name, (supertype,), {}, module))


def _alias(alias: Any) -> Any:
    # An alias has no module of its own to set: it takes that of who makes it.
    return (rebuild.make_alias, (alias.__name__, alias.__value__, alias.__type_params__))


REDUCERS: dict[type, Callable[[Any], Any]] = {
    typing.TypeVar: _type_var,
    typing.ParamSpec: _param_spec,
    typing.TypeVarTuple: _type_var_tuple,
    typing.NewType: _new_type,
}
if hasattr(typing, "TypeAliasType"):
    REDUCERS[typing.TypeAliasType] = _alias
