"""What an app imports from snapfork: `serverless`, `hooks`, and, when they are asked for, snapshots.

Standard library only, and little of it: production processes pay for this import at every start. What
snapshots need is imported when one of their names is.
"""

from __future__ import annotations

from snapfork.adapter import hooks
from snapfork.adapter.settings import SettingError
from snapfork.adapter.wrap import serverless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snapfork.adapter.snapshots.errors import SnapshotError
    from snapfork.adapter.snapshots.reducers import placeholder, register_reducer
    from snapfork.adapter.snapshots.snapshot import Snapshot, restore, snapshot

__version__ = "0.1.0"
__all__ = [
    "SettingError",
    "Snapshot",
    "SnapshotError",
    "hooks",
    "placeholder",
    "register_reducer",
    "restore",
    "serverless",
    "snapshot",
]
_LATE = {
    "Snapshot": "snapshot",
    "SnapshotError": "errors",
    "placeholder": "reducers",
    "register_reducer": "reducers",
    "restore": "snapshot",
    "snapshot": "snapshot",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.snapshots.{_LATE[name]}"), name)
    globals()[name] = value
    return value
