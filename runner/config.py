"""[tool.snapfork] of the app's pyproject.toml, and the order in which layers of settings win."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from typing import Any

from snapfork.adapter import settings
from snapfork.adapter.settings import SettingError

FILE = "pyproject.toml"
FUNCTIONS = "functions"


def overrides(app_dir: str, name: str, typed: Mapping[str, Any]) -> dict[str, Any]:
    """What overrules the decorator for function `name`: pyproject.toml, and `typed` (flags) on top.

    [tool.snapfork] holds for every function, [tool.snapfork.functions.NAME] for one. Raises SettingError.
    """
    path = find(app_dir)
    table = read(path) if path else {}
    functions = table.pop(FUNCTIONS, {})
    return settings.merge(table, functions.get(name, {}), typed)


def strangers(app_dir: str, names: Collection[str]) -> list[str]:
    """Functions that pyproject.toml has settings for and that are none of `names`. Raises SettingError."""
    path = find(app_dir)
    table = read(path) if path else {}
    return [name for name in table.get(FUNCTIONS, {}) if name not in names]


def find(app_dir: str) -> str | None:
    """The pyproject.toml in `app_dir` or the nearest one above it, but not above the working directory."""
    top = os.getcwd()
    directory = os.path.abspath(app_dir)
    while True:
        path = os.path.join(directory, FILE)
        if os.path.isfile(path):
            return path
        if os.path.commonpath([top, directory]) != top or directory == top:
            return None
        directory = os.path.dirname(directory)


def read(path: str) -> dict[str, Any]:
    """[tool.snapfork] of the file at `path`, values parsed, {} without one. Raises SettingError."""
    try:
        with open(path, "rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not valid TOML: {error}.") from None
    table = _table(data.get("tool", {}), f"{path}: tool").get("snapfork", {})
    where = f"{path} [tool.snapfork]"
    table = dict(_table(table, where))
    functions = _table(table.pop(FUNCTIONS, {}), f"{path} [tool.snapfork.functions]")
    parsed = _parse(table, where)
    if functions:
        parsed[FUNCTIONS] = {
            name: _parse(_table(own, f"{where[:-1]}.functions.{name}]"), f"{where[:-1]}.functions.{name}]")
            for name, own in functions.items()
        }
    return parsed


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingError(f"{where} must be a table, not {value!r}.")
    return value


def _parse(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    try:
        return settings.parse_all(table)
    except SettingError as error:
        raise SettingError(f"{where}: {error}") from None
