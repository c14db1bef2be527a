"""Events and requests: how a function is called that is a web app, a handler, or both.

    convert(payload)                    the request that an event stands for, and its shape
    detect(event)                       the shape of an event that describes an HTTP request, or None
    to_request(event)                   that request; for any other event POST /invoke with the payload
    from_response(shape, status, headers, body)
                                        the answer as the sender of such an event wants it
    EventApp(handler)                   a handler(event, context) as a WSGI app

Nothing here is imported before an event has come; Mangum, whose classes know the events of AWS, is imported
by the first one of AWS.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snapfork.adapter.events.app import EventApp
    from snapfork.adapter.events.requests import Request, Shape, convert, detect, from_response, to_request

__all__ = ["EventApp", "Request", "Shape", "convert", "detect", "from_response", "to_request"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{'app' if name == 'EventApp' else 'requests'}"), name)
    globals()[name] = value
    return value
