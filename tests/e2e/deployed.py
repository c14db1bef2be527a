"""A runner that serves what is deployed to it, for tests by the real clients."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from server import HANG_S, Serve

T = TypeVar("T")


def until(ask: Callable[[], T | None]) -> T:
    """What `ask` gives, as soon as it is something."""
    deadline = time.monotonic() + HANG_S
    while not (found := ask()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
    return found


def serve(data: Path) -> Serve:
    """`runner serve` without a target, its control API on a port of its own."""
    return Serve("--control", "127.0.0.1:0", data_dir=data)
