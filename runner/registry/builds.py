"""Builds: versions that wait for their packages to be installed and their code to be tried, and what becomes
of them.

An installed version is `serving` its new package while that is tried; LATEST keeps what it goes back to in a
Fallback with a package."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from snapfork.runner.registry import names
from snapfork.runner.registry.core import Core
from snapfork.runner.registry.environments import BuildFailed, Environments
from snapfork.runner.registry.errors import Invalid, OperationError
from snapfork.runner.registry.model import LATEST, Configuration, State, Version
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.reconciler import Reconciler
from snapfork.runner.registry.rows import Fallback, Lock, Package
from snapfork.runner.registry.starts import Failure, Starts

PROGRESS_LINES = 1000
"""An installer says one for each package, and whoever deploys is shown them all."""
SOON_S = 5.0
"""How long an operation waits for the end of the one before, before it refuses."""


class BuildOperations(Core):
    """See `Operations`, whose constructor sets these."""

    packages: Packages
    environments: Environments
    reconciler: Reconciler
    _starts: Starts | None
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
            if "pending" not in (version.state, version.update_state) or key in self._builds:
                continue
            if self._starts is not None and version.serving == version.package:
                self._try(version)
            else:
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
        failure: Failure | None = None
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
            failure = Failure(error.message, error.code)
        except OperationError as error:
            failure = Failure(error.message, "EnvironmentFailed")
        except OSError as error:
            failure = Failure(f"The environment cannot be made: {error.strerror}.", "EnvironmentFailed")
        except Exception as error:  # else the version would be pending for ever, and nobody told
            traceback.print_exc()
            failure = Failure(
                f"The environment cannot be made: {type(error).__name__}: {error}.", "InternalError"
            )
        try:
            trial = await self._built(version, lock, failure)
        finally:  # not before: whoever asks meanwhile is to find that it goes on
            self._builds.pop(key, None)
        if trial is not None:
            self._try(trial)
        self._continue(name)
        for one in lock:
            self.environments.unpin(one.environment)
        await self.settle()

    async def _built(self, version: Version, lock: list[Lock], failure: Failure | None) -> Version | None:
        """What has become of the installation; the version if its code is to be tried now."""
        name = version.function
        trial = None
        async with self._changing:
            now = self._still(version)
            if now is None or "pending" not in (now.state, now.update_state):
                await self._keep_lock(version.package, lock)
            elif failure is not None:
                await self._commit_failure(now, failure)
            elif self._starts is None:
                done = replace(now, state="active", update_state="active", serving=now.package)
                gone = self.image.of(Fallback, name) if version.version == LATEST else []
                await self.commit([*lock, done], gone, [("function", name)])
            else:
                back: list[Fallback] = []
                gone = []
                if now.version == LATEST:
                    back, gone = self._way_back(now, True)
                trial = replace(now, serving=now.package)
                await self.commit([*lock, trial, *back], gone, [("function", name)])
        return trial

    # -- the trial --------------------------------------------------------------------------------------

    def _try(self, version: Version) -> None:
        key = (version.function, version.version)
        self._builds[key] = asyncio.create_task(self._trial(version))

    async def _trial(self, version: Version) -> None:
        """Have the gateway start the code of a version, and keep what it says."""
        name, key = version.function, (version.function, version.version)
        assert self._starts is not None
        failure: Failure | None = None
        try:
            unit = names.unit(name, version.version)
            failure = await self._starts.attempt(
                unit, self.reconciler, lambda: self._still(version) is not None
            )
        except Exception as error:  # else the version would be pending for ever, and nobody told
            traceback.print_exc()
            failure = Failure(f"It cannot be started: {type(error).__name__}: {error}.", "InternalError")
        try:
            await self._tried(version, failure)
        finally:
            self._builds.pop(key, None)
        self._continue(name)
        if failure is not None:
            await self.settle()

    async def _tried(self, version: Version, failure: Failure | None) -> None:
        async with self._changing:
            now = self._still(version)
            if now is None:
                return
            if failure is not None:
                await self._commit_failure(now, failure)
                return
            done = replace(now, state="active", update_state="active", reason="", reason_code="")
            gone = self.image.of(Fallback, now.function) if now.version == LATEST else []
            await self.commit([done], gone, [("function", now.function)])

    async def _commit_failure(self, now: Version, failure: Failure) -> None:
        """Say so; LATEST goes back to what it had. Code that never ran stays where it can be called: a start
        may fail for what is not the code's fault, and the next call is told why in its own words."""
        name = now.function
        state: State = "active" if now.state == "active" else "failed"
        failed = replace(
            now, state=state, update_state="failed", reason=failure.reason, reason_code=failure.code
        )
        back: list[Fallback] = []
        if now.version == LATEST:
            for one in self.image.of(Fallback, name):
                if one.package:
                    failed = replace(failed, serving=one.package)
                    back = [replace(one, package="")]
        await self.commit([failed, *back], about=[("function", name)])

    def unit_event(self, event: Mapping[str, Any]) -> None:
        """The gateway's event "unit": ends trials, and tells of code that did not start and now does."""
        if self._starts is None:
            return
        self._starts.hear(event)
        if event.get("state") == "ready":
            name, _, number = str(event["name"]).rpartition(":")
            version = self.image.get(Version, name, number)
            failed = version is not None and version.state == "failed" and version.serving == version.package
            if version is not None and failed and (name, number) not in self._builds:
                self._try(version)

    async def wait_started(self, name: str, number: str = LATEST, limit: float = SOON_S) -> None:
        """Wait a little for the end of a trial, so that callers who do one thing after the other can."""
        version = self.version(name, number)
        if self._starts is not None and version.serving == version.package:
            await self.wait_runnable(name, number, limit, done=True)

    async def wait_runnable(self, name: str, number: str, limit: float, done: bool = False) -> None:
        """Wait until a version can be called, if only to be started by that, or (`done`) until nothing of it
        is pending; `limit` seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while (task := self._builds.get((name, number))) is not None:
                    if not done and self.version(name, number).serving:
                        return
                    await asyncio.wait([task])

    def _first_state(self, state: Literal["active", "pending"]) -> Literal["active", "pending"]:
        """Of code that can be run: it is to be tried first, where that can be."""
        return "pending" if self._starts is not None else state

    def _way_back(self, now: Version, trial: bool) -> tuple[list[Fallback], list[Fallback]]:
        """What to keep, and what to delete, so that LATEST goes back to what it serves now.

        trial: from now on it serves the new code.
        """
        name = now.function
        known = self.image.of(Fallback, name)
        if now.state != "active" or not now.serving:  # never up: nothing to go back to
            return [], known
        configuration = known[0].configuration if known else now.configuration
        return [Fallback(name, configuration, now.serving if trial else "")], []

    def _before_trial(self, now: Version) -> Version:
        """LATEST serving what it goes back to, if what it serves is only being tried."""
        known = [one.package for one in self.image.of(Fallback, now.function) if one.package]
        return replace(now, serving=known[0]) if known else now

    def _give_up_trial(self, name: str) -> None:
        """Have the trial of code that is not LATEST any more end; that of the newer code begins then."""
        if self._starts is not None:
            self._starts.ask_again(names.unit(name, LATEST))

    def _still(self, version: Version) -> Version | None:
        """That version as it is now; None if it is gone or another."""
        now = self.image.get(Version, version.function, version.version)
        if now is None or now.created != version.created:
            return None
        same = now.package == version.package and now.configuration == version.configuration
        return now if same else None

    @staticmethod
    def _runs_alike(now: Version, package: str, changed: Configuration) -> bool:
        """Whether a change is of words only: nothing that processes see."""
        if (now.state, now.update_state, now.package) != ("active", "active", package):
            return False
        return replace(now.configuration, description="", extra={}) == replace(
            changed, description="", extra={}
        )

    async def _keep_lock(self, package: str, lock: list[Lock]) -> None:
        """What was built for a version that has moved on serves the next that has this package."""
        if lock and self.image.get(Package, package) is not None:
            await self.commit(lock)
