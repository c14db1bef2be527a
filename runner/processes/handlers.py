"""Targets that are handlers of events: which those are, and the WSGI app that each is served as."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from snapfork.adapter import interface, marks
from snapfork.runner.processes.target import Target

if TYPE_CHECKING:
    from snapfork.adapter.events.app import EventApp


def is_event(found: Any, name: str, order: Mapping[str, Any]) -> bool:
    """Whether `found`, under `name`, is to be called with events: `order["kind"]` says so, or it looks so.

    A web app that `serverless` made a handler of is a web app all the same.
    """
    kind = order.get("kind") or "auto"
    if kind == "web" or not callable(found):
        return False
    if kind == "handler":
        return interface.is_plain_handler(found)
    looks_so = interface.is_handler(found, name)
    return looks_so or (kind == "event" and marks.of(found) is None)


def wrap(handler: Any, order: Mapping[str, Any]) -> EventApp:
    """The app that calls `handler`."""
    from snapfork.adapter.events.app import EventApp

    app = EventApp(handler)
    suit(app, order)
    return app


def is_wrapped(app: Any) -> bool:
    """Whether `app` was made by `wrap`."""
    module = sys.modules.get("snapfork.adapter.events.app")
    return module is not None and isinstance(app, module.EventApp)


def suit(app: EventApp, order: Mapping[str, Any]) -> None:
    """Have the app, which may come from a snapshot, say what this order says of the function."""
    from snapfork.adapter.events import logs

    unit = str(order.get("function") or "")
    about = order.get("context") or {"name": unit.partition(":")[0], "handler": order.get("target", "")}
    app.function = dict(about)
    # Of a deployed function, who reaches it over HTTP sends requests, and no events of his own making.
    app.is_open = not order.get("record")
    logs.install(str(about.get("dialect") or "runner"))


def as_attribute(target: Target, app_dir: str) -> Target:
    """`index.handler`, as Lambda and FC write it, as index:handler, if index.py is there and no package."""
    head, _, last = target.module.rpartition(".")
    path = os.path.join(app_dir, *head.split("."))
    if target.attr or not head or os.path.isdir(path) or not os.path.isfile(path + ".py"):
        return target
    return Target(head, last)
