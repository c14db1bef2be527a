"""A user's module that holds whatever a test gives it."""

from __future__ import annotations

import sys
import types
from typing import Any

from snapfork.adapter import snapshot
from snapfork.adapter.snapshots import capture

NAME = "snapshot_objects_app"
SOURCE = """
STATE = {"deep": [{}]}
def app(environ, start_response):
    start_response("200 OK", [])
    return [b""]
"""


def gave_back(module: types.ModuleType, thing: Any) -> Any:
    """`thing` as it comes back as part of the module's state."""
    module.STATE["deep"][0]["thing"] = thing
    captured = snapshot(module.app).captured
    capture.release(captured)
    return sys.modules[NAME].STATE["deep"][0]["thing"]
