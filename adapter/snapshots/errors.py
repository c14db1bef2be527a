"""What the snapshot functions raise."""

from __future__ import annotations


class SnapshotError(Exception):
    """A snapshot cannot be made, read or trusted; the message is one sentence for the user."""


class Refused(Exception):
    """Raised by a reducer: this object cannot travel; the message says why."""
