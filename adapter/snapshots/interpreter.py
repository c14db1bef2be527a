"""Settings of the interpreter and the standard library that an app makes for its whole process."""

from __future__ import annotations

import decimal
import locale
import os
import socket
import sys
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

_USUAL_RECURSION = 1000
LATER = ("DJANGO_SETTINGS_MODULE", "FLASK_DEBUG", "FLASK_ENV")
"""Variables that frameworks read later, whoever has set them."""
_CATEGORIES = ("LC_COLLATE", "LC_MONETARY", "LC_NUMERIC", "LC_TIME")
"""LC_CTYPE is set by Python itself, from the environment."""


@dataclass(frozen=True)
class Start:
    """How the process was before the app came into it; what is not known is None."""

    environ: Mapping[str, str]
    directory: str | None = None
    umask: int | None = None

    @classmethod
    def here(cls) -> Start:
        """How it is now."""
        return cls(dict(os.environ), os.getcwd(), _umask())

    @classmethod
    def of_process(cls) -> Start:
        """How it was when the interpreter started, as far as that can be told now."""
        with open("/proc/self/environ", "rb") as file:
            pairs = [os.fsdecode(one).partition("=") for one in file.read().split(b"\0") if one]
        return cls({name: value for name, _, value in pairs})


def variables(start: Start) -> dict[str, str | None]:
    """What the app has set in its environment, for itself or for libraries; None for what it has removed."""
    now, before = os.environ, start.environ
    changed = {name: value for name, value in now.items() if before.get(name) != value or name in LATER}
    return changed | {name: None for name in before if name not in now}


def capture(app_dir: str, start: Start) -> dict[str, Any]:
    """What differs from how Python starts, or may."""
    context, usual = decimal.getcontext(), decimal.Context()
    limit = sys.getrecursionlimit()
    return {
        "decimal": context if repr(context) != repr(usual) else None,
        "recursion": limit if limit != _USUAL_RECURSION else None,
        "timeout": socket.getdefaulttimeout(),
        "types": _types(),
        "warnings": list(warnings.filters) if not sys.warnoptions else [],
        "locale": {name: value for name in _CATEGORIES if (value := _locale(name)) != "C"},
        "directory": os.getcwd() if start.directory not in (None, os.getcwd()) else None,
        "umask": _umask() if start.umask not in (None, _umask()) else None,
        "path": [one for one in sys.path if one.startswith(os.path.join(app_dir, ""))],
    }


def apply(found: dict[str, Any]) -> None:
    """Set it again."""
    if found["decimal"] is not None:
        decimal.setcontext(found["decimal"])
    if found["recursion"] is not None:
        sys.setrecursionlimit(found["recursion"])
    if found["timeout"] is not None:
        socket.setdefaulttimeout(found["timeout"])
    _set_types(found["types"])
    new = [one for one in found["warnings"] if one not in warnings.filters]
    if new:
        warnings.filters[:0] = new  # type: ignore[index]
        warnings._filters_mutated()  # type: ignore[attr-defined]
    for name, value in found["locale"].items():
        if _locale(name) != value:
            locale.setlocale(getattr(locale, name), value)
    if found["directory"] is not None and os.path.isdir(found["directory"]):
        os.chdir(found["directory"])
    if found["umask"] is not None:
        os.umask(found["umask"])
    sys.path[:0] = [one for one in found["path"] if one not in sys.path and os.path.isdir(one)]


def set_variables(changed: dict[str, str | None], known: Collection[str]) -> None:
    """Set what `variables` told, but what this process was given only where the app has changed what it was
    given (`known`), too."""
    for name, value in changed.items():
        if value is None:
            os.environ.pop(name, None)
        elif name in known:
            os.environ[name] = value
        else:
            os.environ.setdefault(name, value)


def _umask() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))


def _types() -> list[dict[str, str]]:
    """The tables of `mimetypes`, where it has been used."""
    mimetypes: Any = sys.modules.get("mimetypes")
    if mimetypes is None or not mimetypes.inited:
        return []
    return [dict(one) for one in mimetypes._db.types_map]


def _set_types(tables: list[dict[str, str]]) -> None:
    if not tables:
        return
    import mimetypes

    mimetypes.init()
    for strict, table in enumerate(tables):
        there = mimetypes._db.types_map[strict]  # type: ignore[attr-defined]
        for extension, kind in table.items():
            if there.get(extension) != kind:
                mimetypes.add_type(kind, extension, bool(strict))


def _locale(category: str) -> str:
    return locale.setlocale(getattr(locale, category))
