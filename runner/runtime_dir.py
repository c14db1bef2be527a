"""The private directory of each running runner: its control socket and a note about itself.

Every runner has one directory, named by its pid, under one root per user; whoever may read the root may
list the user's runners. A directory whose process is gone is removed by the next command that looks.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snapfork.runner.errors import UserError

SOCKET = "control.sock"
DIRECT = "invoke.sock"
LOGS = "logs.sock"
NOTE = "runner.json"
TOKEN = "token"
SOCKET_PATH_LIMIT = 107  # sun_path less its final NUL


@dataclass
class Found:
    """A live runner: its pid, its directory and the note that it left there."""

    pid: int
    path: str
    note: dict[str, Any]

    @property
    def socket(self) -> str:
        return os.path.join(self.path, SOCKET)


def candidates() -> list[Path]:
    """Where the root may be, the best place first."""
    uid = os.getuid()
    places = []
    if os.environ.get("XDG_RUNTIME_DIR"):
        places.append(Path(os.environ["XDG_RUNTIME_DIR"]) / "snapfork")
    places.append(Path(f"/run/user/{uid}/snapfork"))
    home = os.environ.get("HOME")
    if home and os.path.isabs(home):
        places.append(Path(home) / ".cache" / "snapfork" / "run")
    places.append(Path(f"/tmp/snapfork-{uid}"))
    return places


def create(note: dict[str, Any]) -> str:
    """Make this process's directory (0700) with `note` in it and return its path.

    Raises UserError when no place is private and writable.
    """
    remove_stale()
    refused = []
    for root in candidates():
        try:
            return _create_in(root, note)
        except OSError as error:
            refused.append(f"{root} ({error.strerror or error})")
    raise UserError(
        f"No private directory for the control socket: {', '.join(refused)}.",
        "Set XDG_RUNTIME_DIR to a directory that only you may write.",
    )


def remove(path: str) -> None:
    """Remove a runner's directory; one that is gone already is fine."""
    shutil.rmtree(path, ignore_errors=True)


def find() -> list[Found]:
    """All live runners of this user, oldest first."""
    found = [entry for root in candidates() for entry in _entries(root) if is_alive(entry)]
    unique = {os.path.realpath(entry.path): entry for entry in found}
    return sorted(unique.values(), key=lambda entry: float(entry.note.get("started_at", 0)))


def remove_stale() -> None:
    """Remove the directories of runners that are gone."""
    for root in candidates():
        for entry in _entries(root):
            if not is_alive(entry):
                remove(entry.path)


def start_ticks(pid: int) -> int | None:
    """When process `pid` started, in clock ticks since boot: tells it from a later process of that number."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def _create_in(root: Path, note: dict[str, Any]) -> str:
    root.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    root.mkdir(exist_ok=True, mode=0o700)
    _verify(root)
    pid = os.getpid()
    path = root / str(pid)
    if len(os.fsencode(path / SOCKET)) > SOCKET_PATH_LIMIT:
        raise OSError(None, "its path is too long for a Unix socket")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    full = {"pid": pid, "start_ticks": start_ticks(pid), "started_at": time.time(), **note}
    temporary = path / (NOTE + ".new")
    temporary.write_text(json.dumps(full))
    temporary.rename(path / NOTE)
    return str(path)


def _verify(root: Path) -> None:
    """Raise OSError unless `root` is a real directory of ours that nobody else may enter."""
    info = os.lstat(root)
    if not stat.S_ISDIR(info.st_mode):
        raise OSError(None, "not a directory")
    if info.st_uid != os.getuid():
        raise OSError(None, "it belongs to another user")
    if stat.S_IMODE(info.st_mode) & 0o077:
        raise OSError(None, "others may enter it: chmod 700 it")


def _entries(root: Path) -> list[Found]:
    try:
        _verify(root)
        names = [name for name in os.listdir(root) if name.isdigit()]
    except OSError:  # the place does not exist or is not ours: no runner of ours is there
        return []
    return [Found(int(name), str(root / name), _note(root / name)) for name in names]


def _note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads((path / NOTE).read_text())
    except (OSError, ValueError):  # being made or removed at this moment
        return {}
    return note if isinstance(note, dict) else {}


def is_alive(entry: Found) -> bool:
    """Whether its process is there, and not a later one of the same number."""
    ticks = start_ticks(entry.pid)
    # A directory without its note is a runner that is just starting: its pid alone decides.
    return ticks is not None and entry.note.get("start_ticks", ticks) == ticks
