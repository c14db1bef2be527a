"""Builds: versions that wait for their packages to be installed, and what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections import deque
from dataclasses import replace
from typing import Any, Literal

from snapfork.runner.registry.core import Core
from snapfork.runner.registry.environments import BuildFailed, Environments
from snapfork.runner.registry.errors import Invalid, OperationError
from snapfork.runner.registry.model import LATEST, Configuration, Version
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.rows import Fallback, Lock, Package

PROGRESS_LINES = 50


class BuildOperations(Core):
    """See `Operations`, whose constructor sets these."""

    packages: Packages
    environments: Environments
    _builds: dict[tuple[str, str], asyncio.Task[None]]
    _progress: dict[str, deque[str]]

    def build_progress(self, name: str) -> tuple[str, ...]:
        """The last lines that the installer of a function's packages has said."""
        return tuple(self._progress.get(name, ()))

    async def wait_built(self, name: str, number: str = LATEST) -> Version:
        """A version, once nothing of it is pending any more."""
        while (task := self._builds.get((name, number))) is not None:
            await asyncio.wait([task])
        return self.version(name, number)

    def package(self, digest: str) -> Package:
        """What is known of a stored package. Raises Invalid (kind "package")."""
        found = self.image.get(Package, digest)
        if found is None:
            raise Invalid(f"There is no package {digest} here.", "code", "package")
        return found

    def _foresee(self, package: Package, configuration: Configuration) -> Literal["active", "pending"]:
        """Whether a version can be run as soon as it is registered. Raises Invalid for its runtime."""
        python = self.environments.python(configuration.runtime)
        if not self.environments.is_ready(configuration.runtime):
            return "pending"
        if not package.requirements:
            return "active"
        lock = self.image.get(Lock, package.hash, python.minor)
        return "active" if lock and self.environments.has(lock.environment) else "pending"

    def _continue(self, name: str) -> None:
        """Have every pending version of a function built, if that is not in the works."""
        for version in self.image.of(Version, name):
            key = (name, version.version)
            if "pending" in (version.state, version.update_state) and key not in self._builds:
                self._builds[key] = asyncio.create_task(self._build(version))

    def _restore(self, name: str) -> None:
        """Have environments built again that versions in service have lost: by another Python, by hand."""
        for version in self.image.of(Version, name):
            key = (name, version.version)
            if not version.serving or key in self._builds:
                continue
            with contextlib.suppress(Invalid):  # its Python is gone; the gateway is not told of it
                if self._foresee(self.package(version.serving), version.configuration) == "pending":
                    build = self._build(replace(version, package=version.serving))
                    self._builds[key] = asyncio.create_task(build)

    async def _build(self, version: Version) -> None:
        name, key = version.function, (version.function, version.version)
        lines = self._progress.setdefault(name, deque(maxlen=PROGRESS_LINES))

        def progress(line: str) -> None:
            lines.append(line)
            self.tell("progress", name)

        package = self.package(version.package)
        failure: tuple[str, str] | None = None
        lock: list[Lock] = []
        try:
            with self.packages.pinned(package.hash):
                directory = await self.packages.unpack(package)
                runtime = version.configuration.runtime
                await self.environments.plain(runtime)
                if package.requirements:
                    environment = await self.environments.build(
                        package.hash, directory, package.requirements, runtime, progress
                    )
                    lock = [Lock(package.hash, self.environments.python(runtime).minor, environment)]
        except BuildFailed as error:
            failure = (error.message, error.code)
        except OperationError as error:
            failure = (error.message, "EnvironmentFailed")
        except OSError as error:
            failure = (f"The environment cannot be made: {error.strerror}.", "EnvironmentFailed")
        except Exception as error:  # else the version would be pending for ever, and nobody told
            traceback.print_exc()
            failure = (f"The environment cannot be made: {type(error).__name__}: {error}.", "InternalError")
        finally:
            self._builds.pop(key, None)
        await self._built(version, lock, failure)
        for one in lock:
            self.environments.unpin(one.environment)

    async def _built(self, version: Version, lock: list[Lock], failure: tuple[str, str] | None) -> None:
        name = version.function
        async with self._changing:
            now = self.image.get(Version, name, version.version)
            if now is None or now.package != version.package or now.configuration != version.configuration:
                await self._keep_lock(version.package, lock)
            elif failure is not None:
                state: Any = "failed" if not now.serving else "active"
                failed = replace(
                    now, state=state, update_state="failed", reason=failure[0], reason_code=failure[1]
                )
                await self.commit([failed], about=[("function", name)])
            else:
                done = replace(now, state="active", update_state="active", serving=now.package)
                gone = self.image.of(Fallback, name) if version.version == LATEST else []
                await self.commit([*lock, done], gone, [("function", name)])
        await self.settle()

    async def _keep_lock(self, package: str, lock: list[Lock]) -> None:
        """What was built for a version that has moved on serves the next that has this package."""
        if lock and self.image.get(Package, package) is not None:
            await self.commit(lock)
