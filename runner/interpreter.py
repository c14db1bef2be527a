"""Which Python runs an app, and what the runner must lend it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import snapfork.runner
from snapfork.runner import side_packages
from snapfork.runner.errors import UserError
from snapfork.runner.serve_config import Interpreter

OLDEST = (3, 11)
NEEDED = (
    *("httptools", "uvloop", "uvicorn", "websockets", "h11", "click"),
    *("cloudpickle", "cryptography", "cffi", "pycparser"),  # for snapshots
)
# Copies in the app's environment that the instance side cannot use are passed over. Of uvicorn it uses inner
# parts, which only hold within one minor version: that of the runner's own.
OLDEST_USABLE = {"httptools": (0, 6, 4), "uvloop": (0, 21)}
OLDEST_WEBSOCKETS = (14,)
FACTS = """
import sys
if sys.path and not sys.path[0]:
    del sys.path[0]
import json, sysconfig
from importlib import metadata
versions = {}
for name in sys.argv[1:]:
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps({"version": list(sys.version_info[:3]), "implementation": sys.implementation.name,
    "executable": sys.executable, "prefix": sys.prefix, "soabi": sysconfig.get_config_var("SOABI"),
    "platform": sys.platform, "versions": versions}))
"""


@dataclass
class Facts:
    """What an interpreter says about itself; `versions` are of packages that its environment has."""

    executable: str
    version: tuple[int, int, int]
    implementation: str
    prefix: str
    soabi: str
    versions: dict[str, str]

    @property
    def minor(self) -> str:
        return f"{self.version[0]}.{self.version[1]}"


def choose(app_dir: str, python: str | None, progress: Callable[[str], None]) -> Interpreter:
    """The interpreter for the app in `app_dir`, ready to run it.

    `python` (--python) wins, then VIRTUAL_ENV, then .venv beside the app, then the runner's own. `progress`
    is told when packages must be fetched. Raises UserError.
    """
    path, reason = find(app_dir, python)
    if path == sys.executable:
        return Interpreter(path, f"{sys.version_info[0]}.{sys.version_info[1]}", reason)
    facts = ask(path, reason)
    websockets = facts.versions.get("websockets")
    if websockets and _numbers(websockets) < OLDEST_WEBSOCKETS:
        # Not passed over: the app may be a client of its own, and the newer one behaves differently.
        progress(
            f"the app's environment has websockets {websockets}; its WebSockets are served from "
            f"{OLDEST_WEBSOCKETS[0]} on: upgrade it there."
        )
    if os.path.realpath(facts.prefix) == os.path.realpath(sys.prefix):
        return Interpreter(sys.executable, facts.minor, reason)
    return Interpreter(facts.executable, facts.minor, reason, loans(facts, progress))


def find(app_dir: str, python: str | None) -> tuple[str, str]:
    """The executable to use and why. Raises UserError when the one asked for does not exist."""
    if python:
        return _resolve(python), "--python"
    active = os.environ.get("VIRTUAL_ENV")
    if active:
        return _of_environment(active, "VIRTUAL_ENV", "Type `deactivate`, or name a Python with --python."), (
            "VIRTUAL_ENV"
        )
    beside = _venv_beside(app_dir)
    if beside:
        hint = f"Make it again (python3 -m venv --clear {beside}), or name a Python with --python."
        return _of_environment(beside, "The environment beside the app", hint), ".venv beside the app"
    return sys.executable, "the runner's own"


def ask(path: str, reason: str) -> Facts:
    """Run the interpreter once and let it tell about itself. Raises UserError."""
    command = [path, "-c", FACTS, *NEEDED]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/", check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        text = error.strerror if isinstance(error, OSError) else "it did not answer within 60 s"
        raise UserError(f"{path} ({reason}) cannot be run: {text}.", "Name a Python with --python.") from None
    try:
        raw: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        if done.returncode == 0:
            raise UserError(f"{path} ({reason}) does not answer like a Python.", "Check --python.") from None
        raise _too_old_or_broken(path, reason, done.stderr) from None
    facts = Facts(
        raw["executable"] or path,
        tuple(raw["version"]),
        raw["implementation"],
        raw["prefix"],
        raw["soabi"] or "",
        raw["versions"],
    )
    _check_supported(facts, path, reason)
    return facts


def loans(facts: Facts, progress: Callable[[str], None]) -> list[str]:
    """What to lend (see processes/borrow.py) to an interpreter other than the runner's own."""
    if facts.soabi == (sysconfig.get_config_var("SOABI") or ""):
        places = own_directories()
    else:
        places = [side_packages.provide(facts.executable, facts.minor, facts.soabi, own_versions(), progress)]
    lent = [f"snapfork={parent}" for parent in snapfork_parents()]
    for name in unusable(facts.versions):
        lent += [f"{name}={place}" for place in places]
    return lent + places


def unusable(versions: dict[str, str]) -> list[str]:
    """The packages among `versions` whose place is taken by the runner's own copy."""
    passed = [
        name
        for name, oldest in OLDEST_USABLE.items()
        if name in versions and _numbers(versions[name]) < oldest
    ]
    own = _numbers(metadata.version("uvicorn"))
    if "uvicorn" in versions and _numbers(versions["uvicorn"])[:2] != own[:2]:
        passed.append("uvicorn")
    return passed


def own_versions() -> dict[str, str]:
    """The versions of the needed packages in the runner's own environment."""
    return {name: metadata.version(name) for name in NEEDED}


def own_directories() -> list[str]:
    """The directories that hold the needed packages in the runner's own environment."""
    directories = []
    for name in NEEDED:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(f"snapfork is not installed completely: {name} is missing.", "Install it again.")
        directories.append(os.path.dirname(next(iter(spec.submodule_search_locations))))
    return list(dict.fromkeys(directories))


def snapfork_parents() -> list[str]:
    """The directories that hold `runner` and `adapter`."""
    paths = [next(iter(snapfork.runner.__path__))]
    adapter = importlib.util.find_spec("snapfork.adapter")
    if adapter is not None and adapter.submodule_search_locations:
        paths.append(next(iter(adapter.submodule_search_locations)))
    return list(dict.fromkeys(os.path.dirname(path) for path in paths))


def _resolve(python: str) -> str:
    expanded = os.path.expanduser(python)
    if os.path.isdir(expanded):
        return _of_environment(expanded, "--python", "Name an executable or a virtual environment.")
    found = shutil.which(expanded)
    if found is None:
        raise UserError(
            f"--python {python}: no such executable.",
            "Name one that exists, for example /usr/bin/python3, or the directory of an environment.",
        )
    return os.path.abspath(found)


def _of_environment(directory: str, what: str, hint: str) -> str:
    path = os.path.join(os.path.abspath(directory), "bin", "python")
    if not os.access(path, os.X_OK):
        problem = "points to a Python that is gone" if os.path.islink(path) else "does not exist"
        raise UserError(f"{what}: {path} {problem}.", hint)
    return path


def _venv_beside(app_dir: str) -> str | None:
    """.venv in `app_dir`, or in a parent up to the one that holds pyproject.toml (the project's root)."""
    tried = []
    directory = app_dir
    while True:
        tried.append(os.path.join(directory, ".venv"))
        if os.path.isfile(os.path.join(directory, "pyproject.toml")):
            break
        parent = os.path.dirname(directory)
        if parent == directory:
            tried = tried[:1]  # no project root above: only the app's own directory counts
            break
        directory = parent
    return next((venv for venv in tried if os.path.isfile(os.path.join(venv, "pyvenv.cfg"))), None)


def _check_supported(facts: Facts, path: str, reason: str) -> None:
    wanted = f"{OLDEST[0]}.{OLDEST[1]}"
    if facts.implementation != "cpython":
        raise UserError(
            f"{path} ({reason}) is {facts.implementation}; snapfork runs CPython {wanted} or later.",
            "Name another with --python.",
        )
    if facts.version[:2] < OLDEST:
        raise UserError(
            f"{path} ({reason}) is Python {facts.minor}; snapfork runs CPython {wanted} or later.",
            "Make the app's environment with a newer Python, or name one with --python.",
        )


def _too_old_or_broken(path: str, reason: str, stderr: str) -> UserError:
    lines = stderr.strip().splitlines()
    why = lines[-1] if lines else "it ended without a word"
    return UserError(f"{path} ({reason}) cannot be used: {why}", "Name another Python with --python.")


def _numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
