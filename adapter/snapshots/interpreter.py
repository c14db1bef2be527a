"""Settings of the interpreter and the standard library that an app makes for its whole process."""

from __future__ import annotations

import decimal
import locale
import os
import socket
import sys
import warnings
from typing import Any

_USUAL_RECURSION = 1000
_CATEGORIES = ("LC_COLLATE", "LC_MONETARY", "LC_NUMERIC", "LC_TIME")
"""LC_CTYPE is set by Python itself, from the environment."""


def capture(app_dir: str) -> dict[str, Any]:
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
    sys.path[:0] = [one for one in found["path"] if one not in sys.path and os.path.isdir(one)]


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
