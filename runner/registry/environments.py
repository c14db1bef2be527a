"""Environments: what a package asks for, installed with uv, once for all that resolve to the same.

    PUBLIC/environments/KEY/        a relocatable virtual environment, never changed once it is there
    PUBLIC/environments/.work-*     being made; whatever is left of one when the runner starts is removed

KEY is a hash of the lock (what `uv pip compile` resolved), the interpreter and the platform. An environment
appears by a rename; builds of one key that come together share one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

from snapfork.runner.registry import indexes, installer, pythons
from snapfork.runner.registry.installer import BuildFailed
from snapfork.runner.registry.places import Places, remove
from snapfork.runner.registry.pythons import Python, Pythons
from snapfork.runner.serve_config import Interpreter

__all__ = ["BuildFailed", "Environments"]
AT_A_TIME = 2
"""Installations: they take a core and the network each."""
Progress = Callable[[str], None]


class Environments:
    """The environments of one data directory.

    find_uv: the path of uv, "" if it is not installed. options: of uv's commands, and variables for them; by
    default what pip is configured with.
    """

    def __init__(
        self,
        places: Places,
        find_uv: Callable[[], str] = installer.find_uv,
        options: Callable[[], tuple[list[str], dict[str, str]]] = indexes.configured,
    ) -> None:
        self.places = places
        self._pythons = Pythons()
        self._find_uv = find_uv
        self._read_options = options
        self._options: tuple[list[str], dict[str, str]] | None = None
        self._described: dict[str, Interpreter] = {}
        self._building: dict[tuple[str, str], asyncio.Task[str]] = {}
        self._installing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._slots = asyncio.Semaphore(AT_A_TIME)
        self._pins: set[str] = set()
        for path in places.environments.glob(".work-*"):
            remove(path)

    def python(self, runtime: str) -> Python:
        """The Python that a runtime means. Raises Invalid (member "runtime")."""
        return self._pythons.of(runtime)

    def is_ready(self, runtime: str) -> bool:
        """Whether `plain` answers at once."""
        return self._pythons.knows(self.python(runtime))

    async def plain(self, runtime: str) -> Interpreter:
        """That Python as it is, with what it must be lent. Raises Invalid (member "runtime")."""
        return await self._pythons.describe(self.python(runtime))

    def has(self, key: str) -> bool:
        return (self.places.environments / key).is_dir()

    async def interpreter(self, key: str) -> Interpreter:
        """The Python of an environment that is there, with what it must be lent."""
        if key not in self._described:
            path = self.places.environments / key / "bin" / "python"
            self._described[key] = await pythons.described(str(path))
        return self._described[key]

    async def build(
        self, package: str, directory: Path, requirements: str, runtime: str, progress: Progress
    ) -> str:
        """The key of the environment for a package (its hash) unpacked in `directory`; made if need be, and
        pinned until `unpin`.

        `progress` is told each step in a line. Raises BuildFailed, with the installer's last lines.
        """
        base = self.python(runtime)
        name = (package, base.minor)
        task = self._building.get(name)
        if task is None:
            task = asyncio.create_task(self._build(package, directory, requirements, base, progress))
            self._building[name] = task
            task.add_done_callback(lambda _: self._building.pop(name, None))
        return await asyncio.shield(task)

    def unpin(self, key: str) -> None:
        """The environment that `build` gave is referred to by now, or never will be."""
        self._pins.discard(key)

    async def collect(self, held: Callable[[str], bool]) -> None:
        """Remove environments that are neither held nor just built."""
        for path in list(self.places.environments.iterdir()):
            key = path.name
            if key.startswith("."):
                continue
            async with self._lock(key):  # no build finds it while it goes
                if not held(key) and key not in self._pins:
                    self._described.pop(key, None)
                    await asyncio.to_thread(remove, path)

    def _lock(self, key: str) -> asyncio.Lock:
        lock = self._installing.get(key)
        if lock is None:
            lock = self._installing[key] = asyncio.Lock()
        return lock

    async def _build(
        self, package: str, directory: Path, requirements: str, base: Python, progress: Progress
    ) -> str:
        uv = self._find_uv()
        if not uv:
            raise BuildFailed(
                f"{requirements} asks for packages, and uv, which installs them, is not here: "
                "pip install 'snapfork[environments]'",
                "UvMissing",
            )
        if self._options is None:
            options, variables = await asyncio.to_thread(self._read_options)
            if options:  # pip asks all of its indexes alike, and they are pip's
                options = [*options, "--index-strategy", "unsafe-best-match"]
            self._options = (options, variables)
        async with self._slots:
            work = self.places.environments / f".work-{secrets.token_hex(6)}"
            await asyncio.to_thread(_make_work, work, self.places)
            try:
                job = installer.Job(uv, base.path, work, self.places, *self._options)
                progress(f"resolving {requirements} for Python {base.minor}")
                lock = await job.compile(directory, requirements)
                key = _key(lock, base, self._options[0], package if installer.is_local(lock) else "")
                async with self._lock(key):
                    self._pins.add(key)
                    if self.has(key):
                        progress("an environment with these packages is there already")
                    else:
                        await self._install(job, lock, directory, key, progress)
                return key
            finally:
                await asyncio.to_thread(remove, work)

    async def _install(
        self, job: installer.Job, lock: str, directory: Path, key: str, progress: Progress
    ) -> None:
        count = sum(1 for line in lock.splitlines() if line and not line.startswith(("#", "-", " ")))
        progress(f"installing {count} packages")
        made = await job.install(lock, directory, progress)
        await asyncio.to_thread(_publish, made, self.places.environments / key, self.places)
        progress("installed")


def _make_work(work: Path, places: Places) -> None:
    work.mkdir(mode=0o755)
    work.chmod(0o755)
    if places.user is not None:
        os.chown(work, places.user.uid, places.user.gid)


def _publish(made: Path, place: Path, places: Places) -> None:
    """Have a finished environment in its place: on disk, and not its users' to change."""
    if places.user is not None:
        for folder, folders, files in os.walk(made):
            for name in (".", *folders, *files):
                os.chown(os.path.join(folder, name), 0, 0, follow_symlinks=False)
    (made / "snapfork.json").write_text(json.dumps({"key": place.name}))
    os.sync()  # it cannot be made again without the network
    try:
        os.rename(made, place)
    except OSError:
        if not place.is_dir():
            raise
        shutil.rmtree(made, ignore_errors=True)
    fd = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _key(lock: str, base: Python, options: list[str], extra: str) -> str:
    """`options` are everybody's; what the package says of indexes beside them is part of what it is."""
    lines = [line.strip() for line in lock.splitlines() if line.strip() and not line.startswith("#")]
    own = [line for line in lines if not line.startswith("-") or line.split()[-1] not in options]
    about = [base.minor, os.path.realpath(base.path), sysconfig.get_platform(), extra]
    return hashlib.sha256("\n".join([*own, *about]).encode()).hexdigest()[:32]
