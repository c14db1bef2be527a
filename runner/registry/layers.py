"""Operations on layers: zips that are laid under a function's code, in numbered versions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from snapfork.runner.registry import names
from snapfork.runner.registry.core import Core, page
from snapfork.runner.registry.defaults import DEFAULTS
from snapfork.runner.registry.errors import BadPackage, Invalid, NotFound
from snapfork.runner.registry.model import Dialect, LayerVersion, Statement, Version
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.rows import GoneLayer, Package

MOST_RUNTIMES = 15


class LayerOperations(Core):
    """See `Operations`."""

    packages: Packages

    async def layer_publish(
        self,
        layer: str,
        package: bytes,
        description: str = "",
        runtimes: Iterable[str] = (),
        license: str = "",
        public: bool = False,
        dialect: Dialect = "runner",
        architectures: Iterable[str] = (),
    ) -> LayerVersion:
        """Make the next version of a layer. Raises Invalid, BadPackage, TooLarge by the dialect's limits."""
        names.check(names.LAYER, layer, "a layer", "name")
        wanted = tuple(runtimes)
        if len(wanted) > MOST_RUNTIMES:
            raise Invalid(f"A layer names at most {MOST_RUNTIMES} runtimes.", "runtimes")
        default = DEFAULTS[dialect]
        stored = await self.packages.add(package, default.zip_bytes, default.unpacked_bytes)
        with self.packages.pinned(stored.hash):
            if stored.kind != "zip":
                raise BadPackage("A layer is a zip, not a snapshot.", "code")
            async with self._changing:
                counter = self.next_number(f"layer/{layer}")
                made = LayerVersion(
                    *(layer, counter.value, stored.hash, stored.size, description),
                    *(wanted, license, public, self.clock(), tuple(architectures)),
                )
                await self.commit([stored, counter, made], about=[("layer", layer)])
        return made

    def layer_get(self, layer: str, version: int) -> LayerVersion:
        """Raises NotFound (kind "layer")."""
        found = self.image.get(LayerVersion, layer, version)
        if found is None:
            raise NotFound(f"There is no version {version} of layer {layer}.", "layer", layer)
        return found

    def layer_code(self, layer: str, version: int) -> str:
        """The path of the zip of a layer's version."""
        package = self.image.get(Package, self.layer_get(layer, version).package)
        if package is None:
            raise NotFound(f"The zip of layer {layer} is gone.", "layer", layer)
        return str(self.packages.path(package))

    def layer_list(
        self,
        prefix: str = "",
        runtime: str = "",
        public: bool | None = None,
        start: str = "",
        limit: int = 50,
        architecture: str = "",
    ) -> tuple[list[LayerVersion], str]:
        """The newest fitting version of each layer, by name."""
        newest: dict[str, LayerVersion] = {}
        for one in self.image.all(LayerVersion):
            fits = _fits(one, runtime, architecture)
            if one.layer.startswith(prefix) and fits and public in (None, one.public):
                newest[one.layer] = one  # they come in the order of their numbers
        return page(list(newest.values()), lambda one: one.layer, start, limit)

    def layer_versions(
        self, layer: str, runtime: str = "", start: str = "", limit: int = 50, architecture: str = ""
    ) -> tuple[list[LayerVersion], str]:
        """A layer's versions, newest first."""
        found = [
            one
            for one in reversed(self.image.all(LayerVersion))
            if one.layer == layer and _fits(one, runtime, architecture)
        ]
        return page(found, lambda one: str(one.version), start, limit)

    async def layer_share(self, layer: str, public: bool) -> None:
        """Say of all versions whether they are public. Raises NotFound (kind "layer")."""
        async with self._changing:
            found = [one for one in self.image.all(LayerVersion) if one.layer == layer]
            if not found:
                raise NotFound(f"There is no layer {layer}.", "layer", layer)
            await self.commit([replace(one, public=public) for one in found], about=[("layer", layer)])

    async def layer_delete(self, layer: str, version: int) -> None:
        """Delete a version; one that is gone is fine, and functions that have it keep it (as on Lambda)."""
        async with self._changing:
            found = self.image.get(LayerVersion, layer, version)
            if found is not None:
                resource = f"layer/{layer}"
                gone: list[Any] = [
                    one
                    for one in self.image.all(Statement)
                    if one.resource == resource and one.qualifier == str(version)
                ]
                kept = [GoneLayer(layer, version, found.package)] if self._has_layer(layer, version) else []
                await self.commit(kept, [*gone, found], [("layer", layer)])

    def _has_layer(self, layer: str, version: int) -> bool:
        return any(
            names.layer_of(arn) == (layer, version)
            for one in self.image.all(Version)
            for arn in one.configuration.layers
        )


def _fits(one: LayerVersion, runtime: str, architecture: str) -> bool:
    """Whether a layer says nothing against a runtime and an architecture; "" for any."""
    asked = ((runtime, one.runtimes), (architecture, one.architectures))
    return all(not word or not named or word in named for word, named in asked)
