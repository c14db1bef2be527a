"""Whether a restored app answers as the live one does. Pure.

What two answers of the live app to the same request do not have in common (dates, ids, cookies) is not
compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Answer = Mapping[str, Any]
"""request: its path. status: a number or None. fields: sorted (name, value) pairs. body: a hash."""
_OWN = {"x-request-id", "date"}
_OF_BODY = {"content-length", "content-md5", "content-digest", "repr-digest", "digest", "etag"}
"""Says something of the body: where that is not the same twice, two may be alike by chance only."""


def differences(first: Answer, second: Answer, restored: Answer) -> list[str]:
    """What `restored` has otherwise than both of the live app's answers, in words; [] for nothing."""
    path = restored["request"]
    found = []
    if first["status"] == second["status"] != restored["status"]:
        found.append(f"{path} has status {restored['status']} instead of {first['status']}")
    live, other, back = _fields(first), _fields(second), _fields(restored)
    passed_over = _OWN if first["body"] == second["body"] else _OWN | _OF_BODY
    for name in sorted(live.keys() | back.keys()):
        if name in passed_over or live.get(name) != other.get(name):
            continue
        if _as_set(live.get(name)) != _as_set(back.get(name)):
            found.append(f"{path} has {_shown(name, back)} instead of {_shown(name, live)}")
    if first["body"] == second["body"] != restored["body"]:
        found.append(f"{path} has another body")
    return found


def _fields(answer: Answer) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in answer["fields"]:
        fields.setdefault(name, []).append(value)
    return fields


def _as_set(values: list[str] | None) -> list[str] | None:
    """Lists such as Allow and Vary are made from sets, whose order depends on the process."""
    return None if values is None else sorted(part.strip() for value in values for part in value.split(","))


def _shown(name: str, fields: Mapping[str, Sequence[str]]) -> str:
    return f"{name}: {', '.join(fields[name])}" if name in fields else f"no {name}"


def all_differences(live: Sequence[Sequence[Answer]], restored: Sequence[Answer]) -> list[str]:
    """Of every request; `live` are two rounds of answers, `restored` is one."""
    return [one for trio in zip(live[0], live[1], restored, strict=True) for one in differences(*trio)]
