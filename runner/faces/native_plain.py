"""Domain objects as JSON and back, for the native face and its clients."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from snapfork.adapter import settings
from snapfork.adapter.settings import SettingError
from snapfork.runner.registry.errors import Invalid
from snapfork.runner.registry.model import Configuration, Hook, Key

HOOK_LIMITS = {"initializer": (300.0, 3.0), "pre_stop": (90.0, 3.0)}
"""Most and default seconds of each hook: FC, function instance lifecycle."""


def plain(value: Any) -> Any:
    """Dataclasses as objects, bytes as {"base64": ...}; a key never shows its secret here."""
    if isinstance(value, Key):
        return {
            name: plain(getattr(value, name))
            for name in ("id", "role", "functions", "description", "created")
        }
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return value


def changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a Configuration out of JSON, checked for their types. Raises Invalid."""
    known = {field.name for field in fields(Configuration)} - {"dialect"}
    made: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise Invalid(
                f"{name!r} is no setting of a function; there are {', '.join(sorted(known))}.", name
            )
        made[name] = _READ.get(name, _text)(name, value)
    return made


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{name} must be text, not {value!r}.", name)
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 86_400:
        raise Invalid(f"{name} must be seconds, more than 0 and at most 86400, not {value!r}.", name)
    return float(value)


def _count(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Invalid(f"{name} must be a whole number of at least 1, or null, not {value!r}.", name)
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Invalid(f"{name} must be a list of texts.", name)
    return tuple(value)


def _env(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise Invalid(f"{name} must be an object of texts.", name)
    return dict(value)


def _hook(name: str, value: Any) -> Hook | None:
    if value is None:
        return None
    most, default = HOOK_LIMITS[name]
    if not isinstance(value, dict) or set(value) - {"handler", "timeout"}:
        raise Invalid(f"{name} must be an object of handler and timeout, or null.", name)
    timeout = _seconds(f"{name}.timeout", value.get("timeout", default))
    if timeout > most:
        raise Invalid(f"{name}.timeout may be at most {most:g} seconds.", name)
    return Hook(_text(f"{name}.handler", value.get("handler", "")), timeout)


def _settings(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"{name} must be an object.", name)
    try:
        return settings.parse_all(value)
    except SettingError as error:
        raise Invalid(str(error), name) from None


def _object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"{name} must be an object.", name)
    return dict(value)


_READ: dict[str, Any] = {
    "timeout": _seconds,
    "memory": _count,
    "concurrency": _count,
    "layers": _texts,
    "env": _env,
    "initializer": _hook,
    "pre_stop": _hook,
    "settings": _settings,
    "extra": _object,
}
