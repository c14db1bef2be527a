"""One function's settings from pyproject.toml and the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from snapfork.runner.errors import UserError


def function_overrides(app_dir: str, name: str, typed: dict[str, Any]) -> dict[str, Any]:
    """The settings of pyproject.toml with those of the command line on top. Raises UserError."""
    from snapfork.adapter import settings
    from snapfork.adapter.settings import SettingError
    from snapfork.runner import config

    try:
        chosen = config.overrides(app_dir, name, typed)
        settings.resolve({}, chosen)  # what excludes each other is said before anything starts
        return chosen
    except SettingError as error:
        raise UserError(str(error)) from None


def warn_of_strangers(app_dir: str, names: list[str], warn: Callable[[str], None]) -> None:
    """Say when pyproject.toml has settings for functions that are not served now."""
    from snapfork.runner import config

    for name in config.strangers(app_dir, names):
        warn(
            f"[tool.snapfork.functions.{name}] of pyproject.toml is not used: "
            f"no function of that name is served, only {', '.join(names)}."
        )
