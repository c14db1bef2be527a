"""What `runner serve` without a target serves beside a manage.py: that project's own application.

Files are read as text, never imported: the project may need another interpreter and packages that the
runner does not have.
"""

from __future__ import annotations

import re
from pathlib import Path

SETTINGS = re.compile(r"""DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']""")
APPLICATION = r"""^%s\s*=\s*["']([\w.]+)\.(\w+)["']"""


def find(directory: str) -> str | None:
    """The target ("mysite.wsgi:application") of the project whose manage.py is in `directory`, or None."""
    root = Path(directory)
    settings = _search(root / "manage.py", SETTINGS)
    if settings is None:
        return None
    return _from_settings(root, settings[0]) or _from_files(root, settings[0])


def _from_settings(root: Path, module: str) -> str | None:
    path = root.joinpath(*module.split("."))
    for name in ("WSGI_APPLICATION", "ASGI_APPLICATION"):
        pattern = re.compile(APPLICATION % name, re.M)
        for file in (path.with_suffix(".py"), path / "__init__.py", path.parent / "base.py"):
            found = _search(file, pattern)
            if found:
                return f"{found[0]}:{found[1]}"
    return None


def _from_files(root: Path, module: str) -> str | None:
    package = module.split(".")[0]
    for name in ("wsgi", "asgi"):
        if (root / package / f"{name}.py").is_file():
            return f"{package}.{name}:application"
    return None


def _search(file: Path, pattern: re.Pattern[str]) -> tuple[str, ...] | None:
    try:
        match = pattern.search(file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return match.groups() if match else None
