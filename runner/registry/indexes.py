"""Where packages are installed from: the indexes that pip is configured with here, as options of uv.

uv does not read pip's configuration, and machines that have a mirror have it there.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable

_LINE = re.compile(r"(?P<section>[^.]+)\.(?P<name>[A-Za-z-]+)=(?P<value>.*)")
_OPTIONS = {
    "index-url": "--index-url",
    "extra-index-url": "--extra-index-url",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
    "constraint": "--constraint",
}
_RANK = {"global": 0, "install": 1, ":env:": 2}
_SECRET = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/@\s'\"]+@")


def configured() -> tuple[list[str], dict[str, str]]:
    """(options for uv, variables for it) that say what `pip config list` says; ([], {}) without pip."""
    for command in ([sys.executable, "-m", "pip"], [shutil.which("pip") or ""]):
        if not command[0]:
            continue
        try:
            done = subprocess.run(
                [*command, "config", "list"], capture_output=True, text=True, timeout=30, cwd="/", check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return of_pip(done.stdout.splitlines())
    return [], {}


def of_pip(lines: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """As `configured`, of the lines that `pip config list` prints: section.name='value'."""
    settings: dict[str, tuple[int, str]] = {}
    for line in lines:
        match = _LINE.fullmatch(line.strip())
        if match is None or match["section"] not in _RANK:
            continue
        try:
            value = str(ast.literal_eval(match["value"]))
        except (ValueError, SyntaxError):
            continue
        rank = _RANK[match["section"]]
        if rank >= settings.get(match["name"], (-1, ""))[0]:
            settings[match["name"]] = (rank, value)
    options: list[str] = []
    for name, option in _OPTIONS.items():
        for word in settings.get(name, (0, ""))[1].split():
            options += [option, word]
    if settings.get("no-index", (0, ""))[1].lower() in ("1", "true", "yes", "on"):
        options.append("--no-index")
    certificates = settings.get("cert", (0, ""))[1]
    return options, {"SSL_CERT_FILE": certificates} if certificates else {}


def without_secrets(text: str) -> str:
    """`text` with user names and passwords taken out of the URLs in it."""
    return _SECRET.sub(r"\g<scheme>***@", text)
