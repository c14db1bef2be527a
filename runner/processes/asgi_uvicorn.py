"""The one place that imports uvicorn: its WebSocket protocol on the websockets package.

HTTP is not uvicorn's here: heads and bodies are read by `snapfork.runner.http`, exactly as the gateway reads
them, so that a second parser could only disagree.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

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
    "ServerState",
    "WebSocketsSansIOProtocol",
    "websocket_config",
    "websockets_available",
]


def websocket_config(app: Any) -> Any:
    """The settings a WebSocket protocol reads; values are uvicorn's defaults."""
    return SimpleNamespace(
        loaded=True,
        loaded_app=app,
        root_path="",
        asgi_version="3.0",
        ws_max_size=16 * 1024 * 1024,
        ws_max_queue=32,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        ws_per_message_deflate=True,
    )
