"""Operations on aliases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from snapfork.runner.registry import names
from snapfork.runner.registry.core import Core, check_revision, page
from snapfork.runner.registry.errors import AlreadyExists, Conflict, Invalid
from snapfork.runner.registry.model import (
    LATEST,
    Alias,
    AsyncConfig,
    CustomDomain,
    FunctionUrl,
    ProvisionConfig,
    Trigger,
)

QUALIFIED: tuple[type[Any], ...] = (AsyncConfig, ProvisionConfig, FunctionUrl)
"""What is configured for a qualifier, and goes with it."""
MOST_WEIGHTS = 1
"""Versions beside the main one. Lambda allows one; FC's clients set one."""


class AliasOperations(Core):
    """Aliases: a name for a version, or for two by weight."""

    async def alias_create(
        self,
        name: str,
        alias: str,
        version: str,
        weights: Mapping[str, float] | None = None,
        description: str = "",
    ) -> Alias:
        """Make an alias. Raises AlreadyExists, NotFound of the version, Invalid."""
        names.check(names.ALIAS, alias, "an alias", "name")
        if alias == LATEST:
            raise Invalid("An alias cannot be called LATEST.", "name")
        async with self._changing:
            self.function(name)
            if self.image.get(Alias, name, alias) is not None:
                raise AlreadyExists(f"Function {name} has an alias {alias} already.", "alias", alias)
            now = self.clock()
            made = Alias(
                *(name, alias, names.version(version), dict(weights or {}), description),
                *(self.new_revision(), now, now),
            )
            self._check_alias(made)
            await self.commit([made], about=[("function", name)])
        await self.settle()
        return made

    async def alias_update(
        self,
        name: str,
        alias: str,
        version: str | None = None,
        weights: Mapping[str, float] | None = None,
        description: str | None = None,
        revision: str | None = None,
    ) -> Alias:
        """Change what is given; `weights` {} takes all of them away."""
        async with self._changing:
            before = self.alias(name, alias)
            check_revision(revision, before.revision, f"Alias {alias} of {name}")
            after = replace(
                before,
                version=before.version if version is None else names.version(version),
                weights=before.weights if weights is None else dict(weights),
                description=before.description if description is None else description,
                revision=self.new_revision(),
                modified=self.clock(),
            )
            self._check_alias(after)
            await self.commit([after], about=[("function", name)])
        await self.settle()
        return after

    def alias_get(self, name: str, alias: str) -> Alias:
        """Raises NotFound."""
        return self.alias(name, alias)

    def alias_list(
        self, name: str, version: str = "", prefix: str = "", start: str = "", limit: int = 50
    ) -> tuple[list[Alias], str]:
        """Aliases by name, of one version if it is given, and where the next page starts."""
        self.function(name)
        found = [
            one
            for one in self.image.of(Alias, name)
            if one.name.startswith(prefix)
            and (not version or names.version(version) in (one.version, *one.weights))
        ]
        return page(found, lambda one: one.name, start, limit)

    async def alias_delete(self, name: str, alias: str) -> None:
        """Raises NotFound; Conflict while a trigger or domain uses it. What is configured for it goes too."""
        async with self._changing:
            gone = self.alias(name, alias)
            for trigger in self.image.of(Trigger, name):
                if trigger.qualifier == alias:
                    raise Conflict(
                        f"Alias {alias} is in use by trigger {trigger.name}.", "trigger", trigger.name
                    )
            for domain in self.image.all(CustomDomain):
                for route in domain.routes:
                    if route["function"] == name and route.get("qualifier") == alias:
                        raise Conflict(
                            f"Alias {alias} is in use by domain {domain.name}.", "domain", domain.name
                        )
            owned: list[Any] = [
                one for kind in QUALIFIED for one in self.image.of(kind, name) if one.qualifier == alias
            ]
            await self.commit([], [*owned, gone], [("function", name)])
        await self.settle()

    def _check_alias(self, alias: Alias) -> None:
        self.version(alias.function, alias.version)
        if len(alias.weights) > MOST_WEIGHTS:
            raise Invalid("An alias splits between its version and one other.", "weights")
        for number, weight in alias.weights.items():
            if not isinstance(weight, (int, float)) or isinstance(weight, bool) or not 0 <= weight <= 1:
                raise Invalid(f"The weight of version {number} is from 0 to 1.", "weights")
            if number == alias.version:
                raise Invalid(
                    f"Version {number} is the alias's main version and cannot be its additional one.",
                    "weights",
                    "additional_is_main",
                )
            if LATEST in (names.version(number), alias.version):
                raise Invalid("LATEST cannot be part of a split.", "weights")
            self.version(alias.function, number)
