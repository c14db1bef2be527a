"""Shapes of the two APIs' members, and what a value breaks of them.

What is wrong with a value is said in neutral words (`Violation`); how it is put to the caller is the
dialect's.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal

SCALARS = frozenset({"string", "integer", "long", "float", "double", "boolean", "blob", "timestamp"})
_BITS = {"integer": 1 << 31, "long": 1 << 63}
_LONGEST_MATCHED = 100_000  # characters of a text that a pattern is tried on

Constraint = Literal["required", "min", "max", "length_min", "length_max", "pattern", "enum", "multiple"]


@dataclass(slots=True)
class Shape:
    """A kind of value. min, max: of a number itself, of the length of anything else. members: of a structure,
    by member name; `member` of a list, `key` and `value` of a map."""

    type: str
    min: float | None = None
    max: float | None = None
    pattern: re.Pattern[str] | None = None
    enum: tuple[Any, ...] = ()
    multiple: float | None = None
    required: tuple[str, ...] = ()
    members: dict[str, Member] = field(default_factory=dict)
    member: Shape | None = None
    key: Shape | None = None
    value: Shape | None = None
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure or of an operation's input. location: "uri", "querystring", "header", "body" or
    "payload"; wire: its name there."""

    name: str
    wire: str
    location: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Violation:
    """One value that breaks one constraint. path: member names, and indexes from 1 of list items; "key" and
    "value" of a map. shown: the value as text, None for what is secret or no scalar. limit: what it breaks.
    """

    path: tuple[str, ...]
    shown: str | None
    constraint: Constraint
    limit: Any


class WrongType(Exception):
    """A value of another type than the member's: nothing more can be said of it."""

    def __init__(self, path: tuple[str, ...], got: str, expected: str) -> None:
        super().__init__(f"{'.'.join(path) or 'The body'}: {got} can not be converted to {expected}.")
        self.path = path
        self.got = got
        self.expected = expected


def convert(shape: Shape, value: Any, path: tuple[str, ...], found: list[Violation]) -> Any:
    """`value`, parsed JSON, as Python data: blobs decoded, nulls and unknown members left out.

    Constraints that it breaks are added to `found`. Raises WrongType.
    """
    kind = shape.type
    if kind == "string":
        if not isinstance(value, str) or not _is_text(value):
            raise WrongType(path, _kind(value), kind)
    elif kind == "structure":
        return _structure(shape, value, path, found)
    elif kind == "list":
        return _list(shape, value, path, found)
    elif kind == "map":
        return _map(shape, value, path, found)
    elif kind == "boolean":
        if not isinstance(value, bool):
            raise WrongType(path, _kind(value), kind)
    elif kind == "blob":
        value = _blob(value, path)
    elif kind in _BITS:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _BITS[kind]:
            raise WrongType(path, _kind(value), kind)
    elif kind in ("float", "double", "timestamp"):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
            raise WrongType(path, _kind(value), kind)
    else:
        return value  # a document: any JSON
    check(shape, value, path, found)
    return value


def from_text(shape: Shape, text: str, path: tuple[str, ...], found: list[Violation]) -> Any:
    """A scalar out of a path, query or header."""
    kind = shape.type
    value: Any = text
    if kind in _BITS:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", text):
            raise WrongType(path, "STRING_VALUE", kind)
        value = int(text)
    elif kind in ("float", "double"):
        if not re.fullmatch(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?", text):
            raise WrongType(path, "STRING_VALUE", kind)
        value = float(text)
    elif kind == "boolean":
        if text not in ("true", "false", "True", "False"):
            raise WrongType(path, "STRING_VALUE", kind)
        value = text in ("true", "True")
    return convert(shape, value, path, found)


def check(shape: Shape, value: Any, path: tuple[str, ...], found: list[Violation]) -> None:
    """Add to `found` what a value of the right type breaks."""
    if isinstance(value, (str, bytes, list, dict)):
        if shape.min is not None and len(value) < shape.min:
            found.append(Violation(path, _shown(shape, value), "length_min", shape.min))
        if shape.max is not None and len(value) > shape.max:
            found.append(Violation(path, _shown(shape, value), "length_max", shape.max))
    elif not isinstance(value, bool):
        if shape.min is not None and value < shape.min:
            found.append(Violation(path, _shown(shape, value), "min", shape.min))
        if shape.max is not None and value > shape.max:
            found.append(Violation(path, _shown(shape, value), "max", shape.max))
        if shape.multiple is not None and abs(value / shape.multiple - round(value / shape.multiple)) > 1e-6:
            found.append(Violation(path, _shown(shape, value), "multiple", shape.multiple))
    if shape.enum and value not in shape.enum:
        found.append(Violation(path, _shown(shape, value), "enum", shape.enum))
    if shape.pattern is not None and isinstance(value, str):
        fits = len(value) <= _LONGEST_MATCHED and shape.pattern.fullmatch(value) is not None
        if not fits:
            found.append(Violation(path, _shown(shape, value), "pattern", shape.pattern.pattern))


def _structure(shape: Shape, value: Any, path: tuple[str, ...], found: list[Violation]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongType(path, _kind(value), "structure")
    made: dict[str, Any] = {}
    for name, member in shape.members.items():
        given = value.get(member.wire)
        if given is not None:
            made[name] = convert(member.shape, given, (*path, name), found)
    for name in shape.required:
        if name not in made:
            found.append(Violation((*path, name), None, "required", None))
    return made


def _list(shape: Shape, value: Any, path: tuple[str, ...], found: list[Violation]) -> list[Any]:
    if not isinstance(value, list):
        raise WrongType(path, _kind(value), "list")
    member = shape.member
    assert member is not None
    made = [
        convert(member, item, (*path, str(number), "member"), found)
        for number, item in enumerate(value, 1)
        if item is not None
    ]
    check(shape, made, path, found)
    return made


def _map(shape: Shape, value: Any, path: tuple[str, ...], found: list[Violation]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongType(path, _kind(value), "map")
    assert shape.value is not None
    made: dict[str, Any] = {}
    for name, item in value.items():
        if not _is_text(name):
            raise WrongType(path, "STRING_VALUE", "map key")
        if shape.key is not None:
            check(shape.key, name, (*path, "key"), found)
        if item is not None:
            made[name] = convert(shape.value, item, (*path, name, "value"), found)
    check(shape, made, path, found)
    return made


def _blob(value: Any, path: tuple[str, ...]) -> bytes:
    if not isinstance(value, str):
        raise WrongType(path, _kind(value), "blob")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise WrongType(path, "STRING_VALUE", "base64 blob") from None


def _is_text(value: str) -> bool:
    """False for lone surrogates, which JSON can spell and nothing can store."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def _kind(value: Any) -> str:
    """As the service calls what it did not want."""
    if isinstance(value, bool):
        return "TRUE_VALUE" if value else "FALSE_VALUE"
    if isinstance(value, (int, float)):
        return "NUMBER_VALUE"
    if isinstance(value, str):
        return "STRING_VALUE"
    if value is None:
        return "NULL_VALUE"
    return "START_ARRAY" if isinstance(value, list) else "START_OBJECT"


def _shown(shape: Shape, value: Any) -> str | None:
    if shape.sensitive or isinstance(value, bytes):
        return None
    if isinstance(value, (list, dict)):
        return None
    text = str(value)
    return text if len(text) <= 300 else f"{text[:300]}..."
