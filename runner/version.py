"""The version of snapfork."""

from __future__ import annotations


def version() -> str:
    """The installed distribution's version, or "0+unknown" when run from a bare source tree."""
    from importlib import metadata

    try:
        return metadata.version("snapfork")
    except metadata.PackageNotFoundError:
        return "0+unknown"
