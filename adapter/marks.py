"""What `serverless` notes about an app or factory, and where it is kept.

The notes are an attribute of the object itself, so that the object stays what it is to everybody else.
Objects that take no attributes (with slots, bound methods) are kept in a list beside, by identity, for the
life of the process.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snapfork.adapter.hooks import Hook

ATTRIBUTE = "__snapfork__"
INNER = ("__wrapped__", "app", "wsgi_app", "application", "_app", "asgi_app")
DEPTH = 16  # layers of middleware looked through for the marked app
_beside: list[tuple[Any, Marks]] = []


class Marks:
    """settings: the decorator's layer, parsed. hooks: name -> functions. interface: "wsgi", "asgi", None."""

    __slots__ = ("hooks", "interface", "settings")

    def __init__(
        self, settings: dict[str, Any], hooks: dict[str, list[Hook]], interface: str | None = None
    ) -> None:
        self.settings = settings
        self.hooks = hooks
        self.interface = interface

    def under(self, other: Marks) -> Marks:
        """These marks with `other` on top; a hook that is in both runs once."""
        hooks = {name: list(known) for name, known in self.hooks.items()}
        for name, more in other.hooks.items():
            mine = hooks.setdefault(name, [])
            mine += [hook for hook in more if hook not in mine]
        return Marks({**self.settings, **other.settings}, hooks, other.interface or self.interface)


def attach(thing: Any, marks: Marks) -> None:
    """Note `marks` on `thing`, on top of what an earlier call noted there."""
    known = of(thing)
    if known is not None:
        marks = known.under(marks)
    _beside[:] = [entry for entry in _beside if entry[0] is not thing]
    try:
        setattr(thing, ATTRIBUTE, marks)
        if getattr(thing, ATTRIBUTE, None) is marks:
            return
    except (AttributeError, TypeError):
        pass  # slots, builtins, bound methods: kept beside
    _beside.append((thing, marks))


def of(thing: Any) -> Marks | None:
    """The marks of `thing` itself, or of its class."""
    for known, noted in _beside:
        if known is thing:
            return noted
    marks = getattr(thing, ATTRIBUTE, None)
    return marks if isinstance(marks, Marks) else None


def find(thing: Any) -> Marks | None:
    """The marks of `thing`, and below them those of the apps inside middleware, or None."""
    found: Marks | None = None
    seen: list[int] = []
    while thing is not None and len(seen) < DEPTH and id(thing) not in seen:
        marks = of(thing)
        if marks is not None:
            found = marks if found is None else marks.under(found)
        seen.append(id(thing))
        thing = inner(thing)
    return found


def inner(thing: Any) -> Any:
    """The app that `thing` holds under one of the usual names, or None."""
    own = getattr(thing, "__dict__", None) or {}
    for name in INNER:
        value = own.get(name)
        if value is not None and callable(value):
            return value
    return None
