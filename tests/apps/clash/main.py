"""An app beside a runner.py and an adapter/ of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import adapter
import runner


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{runner.NAME}, {adapter.NAME}".encode()]
