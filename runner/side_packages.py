"""Packages of the instance side for another Python version than the runner's.

Compiled packages fit one version only, so they are fetched once per version into the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from snapfork.runner.errors import UserError

TIMEOUT = 300.0


def cache_root() -> Path:
    """Where side directories live: XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "snapfork"


def provide(python: str, minor: str, soabi: str, versions: dict[str, str], say: Callable[[str], None]) -> str:
    """The directory with `versions` built for `python`; fetched now if it is not there yet.

    Raises UserError when no installer succeeds.
    """
    requirements = [f"{name}=={version}" for name, version in sorted(versions.items())]
    key = hashlib.sha256("\n".join([soabi, *requirements]).encode()).hexdigest()[:12]
    directory = cache_root() / f"{minor}-{key}"
    if directory.is_dir():
        return str(directory)
    say(f"fetching {', '.join(requirements)} for Python {minor} (once; into {directory})")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        work = tempfile.mkdtemp(prefix=f".{minor}-", dir=directory.parent)
    except OSError as error:
        sentence = f"Cannot write {directory.parent}: {error.strerror}."
        raise UserError(sentence, "Set XDG_CACHE_HOME to a directory that you may write.") from None
    try:
        _fetch(python, minor, requirements, work)
        _publish(work, directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return str(directory)


def commands(python: str, minor: str, requirements: list[str], target: str) -> list[list[str]]:
    """The installers to try, in order: uv, the app's own pip, the runner's pip for the other version."""
    tries = []
    uv = shutil.which("uv")
    if uv:
        tries.append(
            [uv, "pip", "install", "--no-deps", "--python", python, "--target", target, *requirements]
        )
    common = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-deps"]
    tries.append([python, *common, "--target", target, *requirements])
    other = ["--python-version", minor, "--only-binary", ":all:", "--target", target]
    tries.append([sys.executable, *common, *other, *requirements])
    return tries


def _fetch(python: str, minor: str, requirements: list[str], target: str) -> None:
    why = ""
    for command in commands(python, minor, requirements, target):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            why = str(error)
            continue
        if done.returncode == 0:
            return
        why = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), why)
    wanted = " ".join(requirements)
    raise UserError(
        f"Python {minor} ({python}) lacks what snapfork needs, and fetching it failed: {why.strip()}",
        f"Install it in the app's environment yourself: {python} -m pip install {wanted}",
    )


def _publish(work: str, directory: Path) -> None:
    os.chmod(work, 0o755)
    try:
        os.rename(work, directory)
    except OSError:
        # Another runner was faster; its directory has the same content.
        if not directory.is_dir():
            raise
