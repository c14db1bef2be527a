"""What a deployed function finds around it: its whole environment, its directory, its layers on sys.path."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any

_SUFFIXES = (".py", ".so", ".pyc")


def enter(order: Mapping[str, Any]) -> None:
    """Take what `order` says: nothing of the environment before stays, but the limits on threads.

    An order without "environment" is of `runner serve TARGET`, which stays where it was typed.
    """
    environment = order.get("environment")
    if environment is None:
        return
    held = {name: os.environ[name] for name in order["setup"]["threads"] if name in os.environ}
    os.environ.clear()
    os.environ.update(environment | held)
    time.tzset()
    os.umask(0o022)
    sys.path[:0] = order.get("paths", ())  # the app's own directory goes before them when it is imported
    app_dir = order["app_dir"]
    try:
        os.chdir(app_dir)
    except OSError:
        return  # what imports the app tells it better


def shadowed(order: Mapping[str, Any]) -> list[str]:
    """Packages that the function brings along, and that this process has imported from elsewhere already."""
    if not order.get("stocked"):
        return []
    own: set[str] = set()
    for directory in (order["app_dir"], *order.get("paths", ())):
        try:
            own.update(os.listdir(directory))
        except OSError:
            continue
    names = {entry.removesuffix(suffix).partition(".")[0] for entry in own for suffix in _SUFFIXES}
    # Not by going through sys.modules, whose thousands of names would all be copied pages.
    return sorted(name for name in names if name in sys.modules and name not in sys.stdlib_module_names)
