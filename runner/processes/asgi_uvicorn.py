"""The one place that imports uvicorn's internals: what is used of them, and nothing else.

`RequestResponseCycle` speaks ASGI for one request (headers, chunking, receive and send); heads and bodies are
parsed by `snapfork.runner.http`, exactly as the gateway does. `WebSocketsSansIOProtocol` speaks WebSocket.
A test holds these classes to the attributes and arguments relied upon.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    websockets_available: bool
else:
    try:
        from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

        websockets_available = True
    except ImportError:
        # No websockets package, or a uvicorn without this protocol: upgrades are served as plain requests.
        WebSocketsSansIOProtocol = object
        websockets_available = False

__all__ = [
    "ASGI_VERSION",
    "HIGH_WATER_LIMIT",
    "HTTP_SPEC_VERSION",
    "FlowControl",
    "RequestResponseCycle",
    "ServerState",
    "WebSocketsSansIOProtocol",
    "websocket_config",
    "websockets_available",
]

ASGI_VERSION = "3.0"
HTTP_SPEC_VERSION = "2.3"


def websocket_config(app: Any) -> Any:
    """The settings a WebSocket protocol reads; values are uvicorn's defaults."""
    return SimpleNamespace(
        loaded=True,
        loaded_app=app,
        root_path="",
        asgi_version=ASGI_VERSION,
        ws_max_size=16 * 1024 * 1024,
        ws_max_queue=32,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        ws_per_message_deflate=True,
    )
