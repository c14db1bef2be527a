"""Which Python a function's runtime means, among those that are here."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from snapfork.runner import interpreter
from snapfork.runner.errors import UserError
from snapfork.runner.registry.errors import Invalid
from snapfork.runner.serve_config import Interpreter

OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"
_VERSION = re.compile(r"python(3\.\d{1,2})")
_ANY = re.compile(r"python3|(custom|provided)([.-][A-Za-z0-9.-]+)?")
NEWEST_KNOWN = 20


@dataclass(frozen=True)
class Python:
    """An interpreter that is here: its path and "3.11"."""

    path: str
    minor: str


class Pythons:
    """Finds them at once; what each must be lent is looked up, and fetched, when it is first used."""

    def __init__(self) -> None:
        self._described: dict[str, Interpreter] = {OWN: Interpreter(sys.executable, OWN, "the runner's own")}
        self._looking = asyncio.Lock()

    def of(self, runtime: str) -> Python:
        """ "python3.11" is that minor version; "python3", "custom*" and "provided*" are the runner's own.

        Raises Invalid (member "runtime") with what there is.
        """
        match = _VERSION.fullmatch(runtime)
        if match is None and not _ANY.fullmatch(runtime):
            raise Invalid(
                f"The runtime {runtime!r} is not offered; there are {', '.join(offered())}.", "runtime"
            )
        minor = match[1] if match else OWN
        if minor == OWN:
            return Python(sys.executable, OWN)
        path = find(minor)
        if path is None:
            raise Invalid(
                f"There is no Python {minor} for {runtime!r} here; there are {', '.join(offered())}.",
                "runtime",
            )
        return Python(path, minor)

    def knows(self, python: Python) -> bool:
        """Whether `describe` answers at once."""
        return python.minor in self._described

    async def describe(self, python: Python) -> Interpreter:
        """What it must be lent to run functions; the first time for another version may take the network.

        Raises Invalid (member "runtime").
        """
        async with self._looking:
            if python.minor not in self._described:
                self._described[python.minor] = await described(python.path)
            return self._described[python.minor]


async def described(path: str) -> Interpreter:
    """The interpreter at `path` with what it must be lent. Raises Invalid (member "runtime")."""
    try:
        return await asyncio.to_thread(interpreter.choose, "/", path, _silent)
    except UserError as error:
        raise Invalid(error.sentence, "runtime") from None


def _silent(_: str) -> None:
    """Fetching what an interpreter is lent happens once, and has no one to tell."""


def find(minor: str) -> str | None:
    """The executable of a minor version: from PATH, the usual places, pyenv."""
    return next((path for path in _candidates(minor) if os.access(path, os.X_OK)), None)


def offered() -> list[str]:
    """Runtimes that functions may name here."""
    oldest = interpreter.OLDEST[1]
    minors = [f"3.{number}" for number in range(oldest, NEWEST_KNOWN)]
    there = [f"python{minor}" for minor in minors if minor == OWN or find(minor)]
    return ["python3", *there, "custom", "provided"]


def _candidates(minor: str) -> Iterator[str]:
    if int(minor.partition(".")[2]) < interpreter.OLDEST[1]:
        return
    name = f"python{minor}"
    on_path = shutil.which(name)
    if on_path and "/shims/" not in on_path:  # pyenv's shims run whatever is chosen at the moment
        yield on_path
    yield from (f"{place}/{name}" for place in ("/usr/local/bin", "/usr/bin"))
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from (str(path) for path in sorted(root.glob(f"{minor}.*/bin/{name}"), reverse=True))
