"""uv at work: resolving what a package asks for, and installing it into a directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path

from snapfork.runner.kept.store import config_home
from snapfork.runner.processes import as_user
from snapfork.runner.registry.indexes import without_secrets
from snapfork.runner.registry.places import Places

_READABLE = ("/bin/sh", "-c", 'umask 022; exec "$@"', "sh")
"""Installed files can be read by the functions' user, whatever the runner's umask; uvloop cannot set one
for a process."""
TIMEOUT = 1800.0
LAST_LINES = 8
MOST_SAID = 2000
_KEPT = re.compile(r"(https?|no|all)_proxy|UV_\w+|SSL_CERT_(FILE|DIR)|LANG|LC_\w+", re.IGNORECASE)
_LOCAL = re.compile(r"^(\.|/|-e|file:)|@\s*(file:|\.|/)", re.MULTILINE)


class BuildFailed(Exception):
    """An environment cannot be made: `message` for people, `code` for programs."""

    def __init__(self, message: str, code: str = "EnvironmentFailed") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def find_uv() -> str:
    """The uv of the runner's environment, else the one on PATH, else ""."""
    try:
        from uv import find_uv_bin
    except ImportError:
        return shutil.which("uv") or ""
    with contextlib.suppress(FileNotFoundError):
        return str(find_uv_bin())
    return shutil.which("uv") or ""


def is_local(lock: str) -> bool:
    """Whether a lock names something by its path: then it says nothing of what that holds."""
    return _LOCAL.search(lock) is not None


class Job:
    """One environment in the making, in `work`. options and variables: see indexes.configured.

    Where functions have a user of their own, uv is that user: building a package runs its code.
    """

    def __init__(
        self,
        uv: str,
        python: str,
        work: Path,
        places: Places,
        options: list[str],
        variables: dict[str, str],
    ) -> None:
        self._uv = uv
        self._python = python
        self._work = work
        self._user = places.user
        self._options = options
        kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(work),
            **kept,
            **variables,
        }
        if self._user is None:
            self._environment["XDG_CONFIG_HOME"] = config_home()  # uv's own settings name indexes, too
            self._environment.setdefault("UV_CACHE_DIR", _own_cache())

    async def compile(self, directory: Path, requirements: str) -> str:
        """What `requirements` in `directory` resolve to, a line per package. Raises BuildFailed."""
        output = self._work / "lock.txt"
        command = ["pip", "compile", requirements, "--no-header", "--no-annotate"]
        index = ["--emit-index-url", "--emit-find-links"]  # the package may name its own
        await self._run(
            f"{requirements} cannot be resolved",
            [
                *command,
                *index,
                "--python",
                self._python,
                "--output-file",
                str(output),
                "--quiet",
                *self._options,
            ],
            directory,
            None,
        )
        return output.read_text()

    async def install(self, lock: str, directory: Path, progress: Callable[[str], None]) -> Path:
        """A virtual environment below `work` with the packages of `lock`. Raises BuildFailed."""
        made = self._work / "environment"
        await self._run(
            "The environment cannot be made",
            ["venv", "--relocatable", "--python", self._python, "--quiet", str(made)],
            directory,
            None,
        )
        packages = ["--requirement", str(self._work / "lock.txt"), "--no-deps", "--no-progress"]
        await self._run(
            "The packages cannot be installed",
            ["pip", "install", "--python", str(made / "bin" / "python"), *packages, *self._options],
            directory,
            progress,
        )
        return made

    def _needed(self) -> list[str]:
        """Where uv and the Python lie."""
        python = os.path.realpath(self._python)
        return [os.path.dirname(os.path.realpath(self._uv)), os.path.dirname(os.path.dirname(python))]

    async def _run(
        self, what: str, arguments: list[str], directory: Path, progress: Callable[[str], None] | None
    ) -> None:
        command = [self._uv, *arguments, "--color", "never"]
        if self._user is not None:
            user = (self._user.uid, self._user.gid, str(self._user.uid))
            command = as_user.command(user, self._needed(), command)
        process = await asyncio.create_subprocess_exec(
            *_READABLE,
            *command,
            cwd=directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        lines: deque[str] = deque(maxlen=LAST_LINES)
        try:
            async with asyncio.timeout(TIMEOUT):
                assert process.stdout is not None
                async for raw in process.stdout:
                    line = without_secrets(raw.decode(errors="replace").rstrip())
                    if line:
                        lines.append(line)
                        if progress is not None and not line.startswith("Using Python"):
                            progress(line)
                status = await process.wait()
        except TimeoutError:
            raise BuildFailed(f"{what}: it took longer than {TIMEOUT:.0f} s.") from None
        except ValueError:  # a line longer than asyncio's buffer
            raise BuildFailed(f"{what}: the installer's output cannot be read.") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if status:
            said = "\n".join(lines)[-MOST_SAID:] or f"uv ended with status {status}"
            raise BuildFailed(f"{what}:\n{said}")


def _own_cache() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "uv")
