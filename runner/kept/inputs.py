"""What an initialisation depended on, and what has changed since: the key of a kept snapshot. Pure.

The parts are kept apart, and not hashed into one, so that a start can say which of them is another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

ABSENT = "absent"
DECLARED = "env "
"""Stands before the names of variables among the settings."""
_OF_VARIABLES = ("has another value", "is set", "is not set any more")
# fmt: off
VOLATILE = frozenset((
    "_", "COLORTERM", "COLUMNS", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "INVOCATION_ID", "JOURNAL_STREAM",
    "LESSCLOSE", "LESSOPEN", "LINES", "LS_COLORS", "MAIL", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE",
    "OLDPWD", "PS1", "PWD", "SHLVL", "SSH_AUTH_SOCK", "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY",
    "SYSTEMD_EXEC_PID", "TERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "TMUX", "TMUX_PANE", "WINDOWID",
    "XDG_RUNTIME_DIR", "XDG_SESSION_CLASS", "XDG_SESSION_ID", "XDG_SESSION_TYPE", "XDG_VTNR",
))
# fmt: on
"""Variables of a terminal or a session, which differ between two starts of the same thing."""
ALWAYS = ("LANG", "LC_ALL", "PYTHONPATH", "TZ")
"""Variables that C code and the interpreter read unseen."""


@dataclass
class Inputs:
    """Those of one initialisation. Values that could be secret or long are digests.

    interpreter: its version, ABI and so on. settings: name -> canonical text. packages: name -> version.
    variables: those that were read, `every_variable`: the app asked which there are. files: absolute path ->
    digest. What was looked for and not there is ABSENT.
    """

    interpreter: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    every_variable: bool = False
    files: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def change(then: Inputs, now: Inputs, app_dir: str) -> str | None:
    """What is not as it was, as a clause ("shop.py has changed"); None if nothing is."""
    for name, before, after in _differing(then.interpreter, now.interpreter):
        return f"{name} is {after}, and was {before}"
    for name, before, after in _differing(then.settings, now.settings):
        declared = name.removeprefix(DECLARED)
        if declared != name:
            return f"the declared variable {declared} {_how(before, after, *_OF_VARIABLES)}"
        return f"the setting {name} is another"
    for name, before, after in _differing(then.packages, now.packages):
        return _of_package(name, before, after)
    for name, before, after in _differing(then.variables, now.variables):
        return f"the environment variable {name} {_how(before, after, *_OF_VARIABLES)}"
    for path, before, after in _differing(then.files, now.files):
        shown = os.path.relpath(path, app_dir) if path.startswith(app_dir + os.sep) else path
        return f"{shown} {_how(before, after, 'has changed', 'is new', 'is gone')}"
    return None


def counted(variables: Mapping[str, str]) -> set[str]:
    """The variables that count where an app looked at all of them."""
    return {name for name in variables if name not in VOLATILE}


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for name in sorted(then.keys() | now.keys()):
        before, after = then.get(name, ABSENT), now.get(name, ABSENT)
        if before != after:
            yield name, before, after


def _how(before: str, after: str, changed: str, new: str, gone: str) -> str:
    return new if before == ABSENT else gone if after == ABSENT else changed


def _of_package(name: str, before: str, after: str) -> str:
    if before == ABSENT or after == ABSENT:
        return f"the package {name} has been {'installed' if before == ABSENT else 'removed'}"
    before, after = before.partition(" ")[0], after.partition(" ")[0]
    return f"{name} is {after}, and was {before}" if before != after else f"{name} {after} is another build"
