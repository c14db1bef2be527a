"""Routes of custom domains: what they may be, and which one owns a path."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from snapfork.runner.registry.errors import Invalid
from snapfork.runner.registry.model import CustomDomain

PROTOCOLS = ("HTTP", "HTTPS", "HTTP,HTTPS")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
MOST_ROUTES = 100
PATH = re.compile(r"/[!-)+-~]*\*?")
"""An absolute path of visible ASCII, with at most one star: at its end."""


def check_protocol(protocol: str) -> None:
    """Raises Invalid. TLS ends in a proxy in front: with HTTPS the domain answers that proxy."""
    if protocol not in PROTOCOLS:
        raise Invalid(f"A domain's protocol is one of {', '.join(PROTOCOLS[:2])} and HTTP,HTTPS.", "protocol")


def check_routes(routes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Routes as they are kept: {"path", "function", "qualifier", "methods", "rewrite"}. Raises Invalid.

    A path is exact ("/login") or ends in "*" ("/api/*", "/*").
    """
    if len(routes) > MOST_ROUTES:
        raise Invalid(f"A domain has at most {MOST_ROUTES} routes.", "routes")
    checked: list[dict[str, Any]] = []
    taken: set[tuple[str, str]] = set()
    for route in routes:
        path = route.get("path") or "/*"
        if (
            not isinstance(path, str)
            or not PATH.fullmatch(path)
            or "?" in path
            or "#" in path
            or "//" in path
        ):
            raise Invalid(f"{path!r} is not the path of a route: write /login, /api/* or /*.", "routes")
        if path.endswith("*") and not path.endswith("/*"):
            raise Invalid(
                f"The star of {path!r} does not stand for whole parts of a path: write /*.", "routes"
            )
        if not isinstance(route.get("function"), str) or not route["function"]:
            raise Invalid(f"The route {path} names no function.", "routes")
        if route.get("rewrite"):
            raise Invalid("Rewrite rules are not offered: the function gets the path as it came.", "rewrite")
        methods = [str(method).upper() for method in route.get("methods") or ()]
        if unknown := sorted(set(methods) - METHODS):
            raise Invalid(f"{unknown[0]} is not a method of a route.", "routes")
        for method in methods or [""]:
            if (path, method) in taken:
                raise Invalid(f"The route {path} is there twice.", "routes")
            taken.add((path, method))
        checked.append(
            {
                "path": path,
                "function": route["function"],
                "qualifier": route.get("qualifier") or "",
                "methods": methods,
                "rewrite": None,
            }
        )
    return checked


def prefix_of(path: str) -> tuple[str, bool]:
    """(prefix as UnitRoute has it, whether only that very path is meant)."""
    if path.endswith("/*"):
        return path[:-2], False
    return path, True


def auth_of(domain: CustomDomain) -> str:
    """ "none" or "signed": FC's authConfig.authType "function" asks for a signature; without one, none."""
    auth = domain.extra.get("authConfig")
    kind = auth.get("authType") if isinstance(auth, dict) else None
    return "signed" if kind == "function" else "none"
