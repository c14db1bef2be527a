"""Where results go: the addresses of destinations, read."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from snapfork.runner.registry.errors import Invalid

_NAME = r"[A-Za-z0-9_-]{1,64}"
_QUALIFIER = r"\$?[A-Za-z0-9_-]{1,128}"
_FUNCTIONS = (
    re.compile(
        rf"arn:aws[a-z-]*:lambda:[^:]*:[^:]*:function:(?P<name>{_NAME})(?::(?P<qualifier>{_QUALIFIER}))?"
    ),
    re.compile(
        rf"acs:fc:[^:]*:[^:]*:(?:services/[^/]+/)?functions/(?P<name>{_NAME})(?:[/.](?P<qualifier>{_QUALIFIER}))?"
    ),
    re.compile(rf"(?P<name>{_NAME})(?::(?P<qualifier>{_QUALIFIER}))?"),
)


@dataclass(frozen=True)
class Target:
    """kind "function": name and qualifier; "http": name is the address; "file": its path in the outbox."""

    kind: Literal["function", "http", "file"]
    name: str
    qualifier: str = ""


def parse(text: str) -> Target:
    """Read a destination: an ARN of a function in either dialect, NAME or NAME:QUALIFIER, http(s)://..., or
    file:///PATH.jsonl, whose path is taken inside the outbox. Raises Invalid (member "destination")."""
    if text.startswith(("http://", "https://")):
        try:
            parts = urlsplit(text)
            known = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            known = False
        if not known or not text.isascii() or any(character <= " " for character in text):
            raise Invalid(f"{text!r} is not an address that results can be sent to.", "destination")
        return Target("http", text)
    if text.startswith("file:"):
        return Target("file", _inside(text))
    for pattern in _FUNCTIONS:
        if match := pattern.fullmatch(text):
            return Target("function", match["name"], match["qualifier"] or "")
    raise Invalid(
        f"{text!r} is no destination: it is a function, http(s)://... or file:///NAME.jsonl.", "destination"
    )


def _inside(text: str) -> str:
    path = unquote(text[len("file://") :]) if text.startswith("file:///") else ""
    parts = [part for part in path.split("/") if part]
    if not parts or not parts[-1].endswith(".jsonl") or ".." in parts or "." in parts or "\0" in path:
        raise Invalid(f"{text!r} is not a file of JSON lines: write file:///NAME.jsonl.", "destination")
    return "/".join(parts)


def file_of(outbox: Path, name: str) -> Path:
    """The file `name` of the outbox, its directory made. Raises OSError where a link leads out of it."""
    root = outbox.resolve()
    given = Path("/" + name)
    relative = given.relative_to(root) if given.is_relative_to(root) else Path(name)
    directory = root / relative.parent
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not directory.resolve().is_relative_to(root):
        raise OSError(None, "it leads out of the outbox")
    return directory / relative.name


def append_lines(outbox: Path, name: str, lines: list[bytes]) -> None:
    """Add lines to a file of the outbox and have them on the disk. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(file_of(outbox, name), flags, 0o600)
    try:
        data = memoryview(b"".join(line + b"\n" for line in lines))
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
    finally:
        os.close(fd)
