"""Operations on functions, their code, configuration and versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from snapfork.runner.registry import configurations, names
from snapfork.runner.registry.aliases import QUALIFIED
from snapfork.runner.registry.builds import BuildOperations
from snapfork.runner.registry.core import check_idle, check_revision, page
from snapfork.runner.registry.defaults import DEFAULTS
from snapfork.runner.registry.errors import (
    AlreadyExists,
    Conflict,
    Invalid,
    PreconditionFailed,
)
from snapfork.runner.registry.image import OF_FUNCTIONS
from snapfork.runner.registry.model import (
    LATEST,
    Alias,
    Configuration,
    Dialect,
    Function,
    Statement,
    Trigger,
    Version,
)
from snapfork.runner.registry.rows import Counter, Fallback, Package

CHANGEABLE = frozenset(one.name for one in fields(Configuration))
Things = list[Any]
Listed = list[tuple[Function, Version]]
Versions = list[Version]
QUALIFIED_AND_CALLED: tuple[type[Any], ...] = (*QUALIFIED, Trigger)


class FunctionOperations(BuildOperations):
    """See `Operations`."""

    async def create(
        self,
        name: str,
        configuration: Configuration,
        package: bytes | str,
        dialect: Dialect | None = None,
        publish: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> Version:
        """Make a function. `package`: the bytes of a zip or snapshot, or the hash of one that is stored.

        `dialect` is the creator's, by default the configuration's. Given back is LATEST, or with `publish`
        version 1; its state is "pending" while its packages are installed and it is started. Raises
        AlreadyExists, Invalid (of a member), BadPackage, TooLarge.
        """
        names.check(names.NAME, name, "a function", "name")
        self._free(name)
        dialect = dialect or configuration.dialect
        configurations.check(configuration, self.image)
        configurations.check_tags(tags or {})
        stored = await self._take(package, dialect)
        with self.packages.pinned(stored.hash):
            state = self._foresee(stored, configuration)
            async with self._changing:
                self._free(name)
                configurations.check(configuration, self.image)
                now = self.clock()
                function = Function(name, dialect, now, dict(tags or {}))
                latest = Version(
                    *(name, LATEST, configuration, stored.hash, stored.size, self.new_revision(), now, now),
                    state=self._first_state(state),
                    serving=stored.hash if state == "active" else "",
                    description=configuration.description,
                )
                made: Things = [stored, function, latest]
                if publish:
                    made += self._published(latest, configuration.description)
                await self.commit(made, about=[("function", name)])
        self._continue(name)
        await self.settle()
        return self.version(name, "1") if publish else self._as_made(latest)

    async def update_code(
        self,
        name: str,
        package: bytes | str,
        publish: bool = False,
        revision: str | None = None,
        dry_run: bool = False,
    ) -> Version:
        """Give LATEST other code; see `update`."""
        return await self.update(name, package, None, publish, revision, dry_run)

    async def update_configuration(
        self, name: str, changes: Mapping[str, Any], revision: str | None = None
    ) -> Version:
        """Change fields of LATEST's configuration; see `update`."""
        return await self.update(name, None, changes, False, revision)

    async def update(
        self,
        name: str,
        package: bytes | str | None = None,
        changes: Mapping[str, Any] | None = None,
        publish: bool = False,
        revision: str | None = None,
        dry_run: bool = False,
        supersede: bool = False,
    ) -> Version:
        """Change code and configuration of LATEST in one step; with `publish`, the version made of it.

        LATEST goes on with what it had while packages are installed and the new code is started
        (`update_state` "pending"), and also if that fails. `dry_run` checks everything and changes nothing.
        An update that is in progress and does not end soon is a Conflict, or given up if this is to
        `supersede` it. Raises PreconditionFailed for another `revision`.
        """
        await self.wait_started(name)
        before = self.latest(name)
        if not supersede:
            check_idle(before)
        check_revision(revision, before.revision, f"Function {name}")
        changed = self._changed(before.configuration, changes or {})
        hashed = before.package if package is None else None
        stored = await self._take(
            package if package is not None else before.package, before.configuration.dialect
        )
        with self.packages.pinned(stored.hash):
            state = self._foresee(stored, changed)
            async with self._changing:
                now = self._before_trial(self.latest(name)) if supersede else self.latest(name)
                if not supersede:
                    check_idle(now)
                check_revision(revision, now.revision, f"Function {name}")
                if hashed is not None and now.package != hashed:
                    raise Conflict(f"Function {name} was updated at the same time.", "update", name)
                changed = self._changed(now.configuration, changes or {})
                configurations.check(changed, self.image, now.configuration)
                is_ready = state == "active"
                if is_ready and not self._runs_alike(now, stored.hash, changed):
                    state = self._first_state(state)
                after = replace(
                    now,
                    configuration=changed,
                    package=stored.hash,
                    size=stored.size,
                    revision=self.new_revision(),
                    modified=self.clock(),
                    update_state=state,
                    serving=stored.hash if is_ready else now.serving,
                    description=changed.description,
                    reason="",
                    reason_code="",
                    state="active" if "active" in (state, now.state) else "pending",
                )
                if dry_run:
                    return after
                back, gone = self._way_back(now, is_ready and state == "pending")
                if state == "active":
                    back, gone = [], self.image.of(Fallback, name)
                published = self._published(after, changed.description) if publish else []
                await self.commit([stored, after, *back, *published], gone, [("function", name)])
                self._progress.pop(name, None)
        if supersede:
            self._give_up_trial(name)
        self._continue(name)
        await self.settle()
        number = next((one.version for one in published if isinstance(one, Version)), None)
        if publish:
            return self.version(name, number) if number else self._last_published(name)
        return self._as_made(after)

    def get(self, name: str, qualifier: str = "") -> tuple[Function, Version, Alias | None]:
        """A function, the version that the qualifier means (an alias's main one), and the alias."""
        function = self.function(name)
        kept = names.qualifier(qualifier)
        if not kept or kept.isdigit():
            return function, self.version(name, kept or LATEST), None
        alias = self.alias(name, kept)
        return function, self.version(name, alias.version), alias

    def list(self, prefix: str = "", start: str = "", limit: int = 50) -> tuple[Listed, str]:
        """Functions by name with their LATEST, and where the next page starts ("" at the end)."""
        found = [one for one in self.image.functions() if one.name.startswith(prefix)]
        chosen, after = page(found, lambda one: one.name, start, limit)
        return [(one, self.latest(one.name)) for one in chosen], after

    async def delete(self, name: str, qualifier: str = "") -> None:
        """Delete a function with everything that is its, or one of its versions.

        Raises Conflict for a version that an alias points to, Invalid for an alias or LATEST.
        """
        async with self._changing:
            self.function(name)
            if qualifier:
                gone = self._deletable(name, qualifier)
            else:
                gone = [one for kind in OF_FUNCTIONS for one in self.image.of(kind, name)]
                gone += [one for one in self.image.all(Statement) if one.resource == f"function/{name}"]
                gone += [*filter(None, [self.image.get(Counter, f"function/{name}")]), self.function(name)]
            await self.commit([], gone, about=[("function", name)])
            if not qualifier:
                self._progress.pop(name, None)
        await self.settle()

    def _deletable(self, name: str, qualifier: str) -> Things:
        number = names.qualifier(qualifier)
        if not number.isdigit():
            raise Invalid(f"{qualifier} is no version that can be deleted by itself.", "qualifier")
        version = self.version(name, number)
        for alias in self.image.of(Alias, name):
            if number == alias.version or number in alias.weights:
                raise Conflict(
                    f"Version {number} of {name} is in use by alias {alias.name}.", "alias", alias.name
                )
        owned = [
            one
            for kind in QUALIFIED_AND_CALLED
            for one in self.image.of(kind, name)
            if one.qualifier == number
        ]
        return [*owned, version]

    async def publish(
        self,
        name: str,
        description: str | None = None,
        code_sha256: str | None = None,
        revision: str | None = None,
    ) -> Version:
        """Freeze LATEST as the next version; where nothing has changed since the last one, that one.

        `code_sha256` (hex) and `revision` must be those of LATEST where they are given: PreconditionFailed.
        Raises Conflict while LATEST is still pending, which is waited for shortly, or has failed.
        """
        await self.wait_started(name)
        async with self._changing:
            latest = self.latest(name)
            check_revision(revision, latest.revision, f"Function {name}")
            if code_sha256 and code_sha256 != latest.package:
                raise PreconditionFailed(
                    f"The code of {name} is another: its SHA-256 is {latest.package}.", "code"
                )
            if self._starts is not None:
                check_idle(latest)
            made = self._published(latest, description)
            if made:
                await self.commit(made, about=[("function", name)])
        self._continue(name)
        await self.settle()
        return self._last_published(name)

    def versions(
        self,
        name: str,
        start: str = "",
        limit: int = 50,
        *,
        latest: bool = True,
        backward: bool = False,
    ) -> tuple[Versions, str]:
        """Versions by number, LATEST first if it is wanted, and where the next page starts."""
        self.function(name)
        found = sorted(
            self.image.of(Version, name), key=lambda one: int(one.version) if one.version != LATEST else 0
        )
        found = [one for one in found if latest or one.version != LATEST]
        if backward:
            found.reverse()
        return page(found, lambda one: one.version, start, limit)

    def code(self, name: str, qualifier: str = "") -> str:
        """The path of the zip (or snapshot) of a version."""
        return str(self.packages.path(self.package(self.get(name, qualifier)[1].package)))

    # -- parts ------------------------------------------------------------------------------------------

    def _free(self, name: str) -> None:
        if self.image.get(Function, name) is not None:
            raise AlreadyExists(f"There is a function {name} already.", "function", name)

    async def _take(self, package: bytes | str, dialect: Dialect) -> Package:
        """The package, in the store and unpacked."""
        if isinstance(package, str):
            found = self.package(package)
            await self.packages.unpack(found)
            return found
        default = DEFAULTS[dialect]
        return await self.packages.add(package, default.zip_bytes, default.unpacked_bytes)

    @staticmethod
    def _changed(configuration: Configuration, changes: Mapping[str, Any]) -> Configuration:
        if unknown := sorted(set(changes) - CHANGEABLE):
            raise Invalid(f"There is no {unknown[0]} in a function's configuration.", unknown[0])
        return replace(configuration, **changes)

    def _as_made(self, made: Version) -> Version:
        """That version as it is by now; as it was made, if another has taken its place."""
        now = self.image.get(Version, made.function, made.version)
        return now if now is not None and now.revision == made.revision else made

    def _last_published(self, name: str) -> Version:
        return self.versions(name, latest=False, backward=True, limit=1)[0][0]

    def _published(self, latest: Version, description: str | None) -> Things:
        """The next version and its counter; nothing if the last one is the same."""
        if latest.update_state == "failed" or latest.state == "failed":
            raise Conflict(
                f"The last update of {latest.function} failed; there is nothing to publish: {latest.reason}",
                "update",
                latest.function,
            )
        counter = self.next_number(f"function/{latest.function}")
        numbers = [
            int(one.version) for one in self.image.of(Version, latest.function) if one.version != LATEST
        ]
        if numbers:
            last = self.version(latest.function, str(max(numbers)))
            if last.package == latest.package and last.configuration == latest.configuration:
                return []
        now = self.clock()
        installed = latest.serving == latest.package
        pending = latest.update_state == "pending" or latest.state == "pending"
        version = replace(
            latest,
            version=str(counter.value),
            revision=self.new_revision(),
            created=now,
            modified=now,
            state="pending" if pending else self._first_state("active"),
            update_state="active",
            serving=latest.package if installed else "",
            description=latest.description if description is None else description,
        )
        return [counter, version]
