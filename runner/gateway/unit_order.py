"""What the order of a deployed unit's template says beyond that of `runner serve TARGET`."""

from __future__ import annotations

import os
from typing import Any

from snapfork.runner.kept.store import app_key, record_path
from snapfork.runner.units import Unit

User = tuple[int, int, str]


def unit_order(unit: Unit, user: User | None, *, stocked: bool) -> dict[str, Any]:
    """To be laid over the usual order. stocked: its base has frameworks imported, so that a snapshot is
    restored right there, and a package that brings its own copies must be told.

    Who runs as a user of his own keeps and signs snapshots in his own HOME: neither the runner's key nor its
    store are within reach.
    """
    order: dict[str, Any] = {
        "kind": unit.kind,
        "context": unit.context,
        "initializer": unit.initializer,
        "pre_stop": unit.pre_stop,
        "paths": list(unit.paths),
        "environment": unit.environment,
        "record": True,
        "stocked": stocked,
        "signer": unit.signer,
        "elsewhere": not stocked,
    }
    home = (unit.environment or {}).get("HOME")
    if user is not None and home:
        order["data_dir"] = os.path.join(home, ".local", "share", "snapfork")
        order["config_home"] = os.path.join(home, ".config")
    elif user is not None:
        order["keep"] = False
    return order


def has_records(order: dict[str, Any]) -> bool:
    """Whether it is worth the time to look for a snapshot: small functions start sooner than one is found."""
    return record_path(order["data_dir"], app_key(order)).exists()
