"""Letting go of what nothing refers to any more: packages, environments, homes."""

from __future__ import annotations

from collections.abc import Iterable

from snapfork.runner.registry.core import Core
from snapfork.runner.registry.environments import Environments
from snapfork.runner.registry.model import LayerVersion, Version
from snapfork.runner.registry.names import layer_of
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.rows import GoneLayer, Lock, Package


class Sweeping(Core):
    """See `Operations`."""

    packages: Packages
    environments: Environments

    async def sweep(self) -> None:
        """Forget, then remove; in this order, so that a registry that was not written to loses nothing."""
        async with self._changing:
            layers = {layer_of(arn) for one in self.image.all(Version) for arn in one.configuration.layers}
            gone_layers = [one for one in self.image.all(GoneLayer) if (one.layer, one.version) not in layers]
            held = self._held(one for one in self.image.all(GoneLayer) if one not in gone_layers)
            packages = [
                one
                for one in self.image.all(Package)
                if one.hash not in held and not self.packages.is_pinned(one.hash)
            ]
            gone = {one.hash for one in packages}
            locks = [one for one in self.image.all(Lock) if one.package in gone]
            if gone_layers or packages:
                await self.commit([], [*gone_layers, *locks, *packages])
            await self.packages.collect({one.hash for one in self.image.all(Package)})
            await self.environments.collect({one.environment for one in self.image.all(Lock)})
            self.packages.places.keep_homes({one.name for one in self.image.functions()})

    def _held(self, layers: Iterable[GoneLayer]) -> set[str]:
        """The packages that something refers to."""
        versions = self.image.all(Version)
        held = {one.package for one in versions} | {one.serving for one in versions}
        return held | {one.package for one in self.image.all(LayerVersion)} | {one.package for one in layers}
