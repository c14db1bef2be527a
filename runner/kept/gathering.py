"""Finds the inputs of an initialisation as they are now: reads files, lists packages, looks at variables."""

from __future__ import annotations

import hashlib
import json
import os
import site
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from snapfork.adapter import __version__
from snapfork.runner.kept.inputs import ABSENT, ALWAYS, DECLARED, Inputs, counted
from snapfork.runner.processes.origins import is_library

MOST_SOURCES = 5_000
"""In a larger tree only what was imported or opened counts."""
LARGE = 16 << 20
"""Reading more than this at each start would take what a restore saves."""
_PASSED = {"__pycache__", "node_modules", "site-packages", "dist-packages"}
_BLOCK = 1 << 20
_UNREAL = ("/proc/", "/sys/", "/dev/", "/run/")


def gather(
    order: Mapping[str, Any],
    environ: Mapping[str, str],
    variables: Iterable[str],
    every_variable: bool,
    files: Iterable[str],
    salt: str,
) -> Inputs:
    """The inputs now: these variables of `environ`, these files, and the sources in the app's directory.

    Values of variables are only kept as digests with `salt`.
    """
    names = {*variables, *ALWAYS} | (counted(environ) if every_variable else set())
    paths = {*files, *sources(os.path.abspath(order["app_dir"]))}
    return Inputs(
        interpreter(),
        settings(order, salt),
        packages(),
        {name: _digest(environ[name], salt) if name in environ else ABSENT for name in sorted(names)},
        every_variable,
        {path: file_digest(path) for path in sorted(paths)},
    )


def interpreter() -> dict[str, str]:
    """What a pickle and its code objects depend on, and whose packages are imported."""
    return {
        "Python": sys.version.split()[0],
        "the ABI": str(sysconfig.get_config_var("SOABI")),
        "the interpreter": sys.executable,
        "snapfork": __version__,
    }


def settings(order: Mapping[str, Any], salt: str) -> dict[str, str]:
    """What was typed or stands in pyproject.toml; values of `env` are digests."""
    found = {"target": str(order["target"])}
    for name, value in order["overrides"].items():
        if name == "env":
            found |= {f"{DECLARED}{one}": _digest(text, salt) for one, text in value.items()}
        else:
            found[name] = json.dumps(value, sort_keys=True, default=str)
    return found | {"mount": json.dumps(sorted(str(route) for route in order["routes"]))}


def packages() -> dict[str, str]:
    """Installed distributions of this environment -> "version mtime"; the second tells builds apart."""
    found: dict[str, str] = {}
    for directory in [*sys.path, *site.getsitepackages()]:
        try:
            entries = list(os.scandir(directory or "."))
        except OSError:
            continue
        for entry in entries:
            stem, dot, kind = entry.name.rpartition(".")
            if dot and kind in ("dist-info", "egg-info") and not stem.startswith("~"):  # pip works on those
                name, _, version = stem.partition("-")
                found.setdefault(name, f"{version} {entry.stat().st_mtime_ns}")
    return found


def sources(app_dir: str) -> list[str]:
    """The Python files below the app's directory, and its .env files; [] if there are too many."""
    found: list[str] = []
    for path in _walk(app_dir):
        found.append(path)
        if len(found) > MOST_SOURCES:
            return []
    return found


def _walk(top: str) -> Iterator[str]:
    for directory, folders, names in os.walk(top):
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        folders[:] = sorted(one for one in folders if one not in _PASSED and not one.startswith("."))
        for name in sorted(names):
            if name.endswith(".py") or (name.startswith(".env") and directory == top):
                yield os.path.join(directory, name)


def imported() -> set[str]:
    """The files of modules in this process that are neither of a library nor of an installed package."""
    found = set()
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.endswith(".py") and not is_library(path):
            found.add(os.path.abspath(path))
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
    return {path for path in found if not path.startswith(own)}


def read_by_app(opened: Iterable[str], written: Iterable[str]) -> set[str]:
    """Of the files that were opened, those that the app may depend on."""
    own = {path for path in opened if not is_library(path) and not path.startswith(_UNREAL)}
    own = {path for path in own if not path.endswith((".pyc", ".so")) and "/site-packages/" not in path}
    return {path for path in own if _is_file_or_absent(path)} - set(written)


def listed_by_app(listed: Iterable[str], written: Iterable[str]) -> set[str]:
    """Of the directories that were listed, those that the app may depend on: not where it writes itself."""
    own = {path for path in listed if not is_library(os.path.join(path, "")) and not path.startswith(_UNREAL)}
    own -= {os.path.dirname(path) for path in written}
    return {path for path in own if not _PASSED & set(path.split(os.sep))}


def _is_file_or_absent(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True


def changed_since(paths: Iterable[str], moment_ns: int) -> str | None:
    """One of `paths` that has been written to since (CLOCK_REALTIME), or None."""
    for path in paths:
        try:
            about = os.stat(path)
            if about.st_ctime_ns >= moment_ns and not stat.S_ISDIR(about.st_mode):
                return path
        except OSError:
            continue
    return None


def file_digest(path: str) -> str:
    """SHA-256 of a file's contents or a directory's names; for a large file what the file system says."""
    digest = hashlib.sha256()
    try:
        about = os.stat(path)
        if stat.S_ISDIR(about.st_mode):
            names = sorted(name for name in os.listdir(path) if name not in _PASSED)
            return hashlib.sha256("\0".join(names).encode(errors="surrogateescape")).hexdigest()
        if about.st_size > LARGE:
            return f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns} {about.st_ino}"
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return ABSENT
    return digest.hexdigest()


def _digest(text: str, salt: str) -> str:
    return hashlib.sha256(f"{salt}\0{text}".encode(errors="surrogateescape")).hexdigest()
