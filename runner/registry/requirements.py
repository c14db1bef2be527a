"""Whether a package says what it needs installed, and where."""

from __future__ import annotations

import tomllib
from pathlib import Path

REQUIREMENTS, PROJECT = "requirements.txt", "pyproject.toml"
MOST_BYTES = 1 << 20


def find(directory: Path) -> str:
    """ "requirements.txt" or "pyproject.toml" if one in `directory` names packages, else ""; the first wins.

    A pyproject.toml without dependencies (tools keep their settings there, too) asks for nothing; one that
    cannot be read is left to the installer, which says why.
    """
    plain = directory / REQUIREMENTS
    if _is_small_file(plain) and _names_packages(plain.read_text(errors="replace")):
        return REQUIREMENTS
    project = directory / PROJECT
    if _is_small_file(project):
        try:
            table = tomllib.loads(project.read_text()).get("project", {})
        except (ValueError, RecursionError):
            return PROJECT
        if isinstance(table, dict) and (
            table.get("dependencies") or "dependencies" in (table.get("dynamic") or ())
        ):
            return PROJECT
    return ""


def _is_small_file(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= MOST_BYTES


def _names_packages(text: str) -> bool:
    lines = (
        line.partition("#")[0].strip() if not line.startswith("-") else line.strip()
        for line in text.splitlines()
    )
    return any(line and not _only_an_option(line) for line in lines)


def _only_an_option(line: str) -> bool:
    """Options that name no package: indexes and the like; -r, -e and -c lead to some."""
    return line.startswith("-") and not line.startswith(("-r", "-e", "--requirement", "--editable"))
