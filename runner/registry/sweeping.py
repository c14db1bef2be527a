"""Letting go of what nothing refers to any more: packages, environments, homes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from snapfork.runner.registry.core import Core
from snapfork.runner.registry.environments import Environments
from snapfork.runner.registry.model import LayerVersion, Version
from snapfork.runner.registry.names import layer_of
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.rows import Fallback, GoneLayer, Lock, Package

PERIOD = 600.0
"""Seconds between two rounds. What goes has been without use in the round before, so that instances of a
version that is being replaced find their code until they have drained."""


class Sweeping(Core):
    """See `Operations`."""

    packages: Packages
    environments: Environments
    _unused: set[str]

    async def sweep_for_ever(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """A round now and then."""
        while True:
            await sleep(PERIOD)
            with contextlib.suppress(OSError):
                await self.sweep(at_once=False)

    async def sweep(self, at_once: bool = True) -> None:
        """Forget, then remove; in this order, so that what is referred to is there at any moment.

        Without `at_once` only what was not used in the last round either.
        """
        async with self._changing:
            layers = {layer_of(arn) for one in self.image.all(Version) for arn in one.configuration.layers}
            gone = [one for one in self.image.all(GoneLayer) if (one.layer, one.version) not in layers]
            held = self._held({one.package for one in self.image.all(GoneLayer) if one not in gone})
            unused = {one.hash for one in self.image.all(Package)} - held
            leaving = {
                one
                for one in (unused if at_once else unused & self._unused)
                if not self.packages.is_pinned(one)
            }
            self._unused = unused - leaving
            packages = [one for one in self.image.all(Package) if one.hash in leaving]
            locks = [one for one in self.image.all(Lock) if one.package in leaving]
            if gone or packages:
                await self.commit([], [*gone, *locks, *packages])
        await self.packages.collect(lambda digest: self.image.get(Package, digest) is not None)
        await self.environments.collect(self._has_environment)
        places = self.packages.places
        names = {places.home_name(one.name, one.created) for one in self.image.functions()}
        await asyncio.to_thread(places.keep_homes, names)

    def _held(self, gone_layers: set[str]) -> set[str]:
        """The packages that something refers to."""
        versions = self.image.all(Version)
        held = {one.package for one in versions} | {one.serving for one in versions} | gone_layers
        held |= {one.package for one in self.image.all(Fallback)}
        return held | {one.package for one in self.image.all(LayerVersion)}

    def _has_environment(self, key: str) -> bool:
        return any(one.environment == key for one in self.image.all(Lock))
