"""One function's settings from pyproject.toml and the command line."""

from __future__ import annotations

from typing import Any

from snapfork.runner.errors import UserError


def function_overrides(app_dir: str, name: str, typed: dict[str, Any]) -> dict[str, Any]:
    """The settings of pyproject.toml with those of the command line on top. Raises UserError."""
    from snapfork.adapter.settings import SettingError
    from snapfork.runner import config

    try:
        return config.overrides(app_dir, name, typed)
    except SettingError as error:
        raise UserError(str(error)) from None
