"""What the registry implies for the gateway: the units to serve. Their addresses are in http_addresses.py."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from snapfork.runner.registry import environment, names, packages, snapshots
from snapfork.runner.registry.core import Site
from snapfork.runner.registry.environments import Environments
from snapfork.runner.registry.errors import OperationError
from snapfork.runner.registry.image import Image
from snapfork.runner.registry.model import (
    LATEST,
    Configuration,
    Function,
    Hook,
    LayerVersion,
    ProvisionConfig,
    Version,
)
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.rows import Fallback, GoneLayer, Lock, Package
from snapfork.runner.serve_config import Interpreter
from snapfork.runner.units import Unit

MB = 1 << 20
Key = tuple[str, ...]
"""Packages and runtime of a version."""


class Registry(Protocol):
    """What this needs of `Operations`."""

    image: Image
    packages: Packages
    environments: Environments

    def choices(self, name: str, qualifier: str) -> list[tuple[str, float]]: ...
    def shares(self, config: ProvisionConfig) -> dict[str, int]: ...


@dataclass(frozen=True)
class Prepared:
    """What a version's processes run on. layers: their directories, the one that wins first; modules,
    libraries, programs: directories in them. signer: whose public key (hex) the snapshot bears."""

    directory: str
    snapshot: str
    interpreter: Interpreter
    layers: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    signer: str = ""


@dataclass
class Waiting:
    """Units that cannot be told yet: being prepared, or why they cannot be."""

    going_on: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)


class Deduction:
    """Units of the whole registry. `prepare` before `units`, after every change."""

    def __init__(self, registry: Registry, site: Site) -> None:
        self._registry = registry
        self._site = site
        self._prepared: dict[Key, Prepared] = {}
        self._preparing: dict[Key, asyncio.Task[Prepared]] = {}
        self._known: dict[str, tuple[int, list[Unit]]] = {}

    # -- units ------------------------------------------------------------------------------------------

    async def prepare(self, patience: float, done: Callable[[], None]) -> Waiting:
        """Have unpacked and looked up what versions need.

        What takes longer than `patience` seconds goes on, and `done` is called when it has ended.
        """
        wanted: dict[Key, Prepared] = {}
        missing: dict[Key, list[Version]] = {}
        for version in self._served():
            key = self._key(version)
            if key in self._prepared:
                wanted[key] = self._prepared[key]
            else:
                missing.setdefault(key, []).append(version)
        self._prepared = wanted
        for key, versions in missing.items():
            if key not in self._preparing:
                task = asyncio.create_task(self._prepare(versions[0]))
                task.add_done_callback(lambda _: done())
                self._preparing[key] = task
        if missing:
            await asyncio.wait([self._preparing[key] for key in missing], timeout=patience)
        return self._collect(missing)

    def _collect(self, missing: dict[Key, list[Version]]) -> Waiting:
        waiting = Waiting()
        for key, versions in missing.items():
            units = [names.unit(version.function, version.version) for version in versions]
            if not self._preparing[key].done():
                waiting.going_on.update(units)
                continue
            try:
                self._prepared[key] = self._preparing.pop(key).result()
            except (OperationError, OSError) as error:
                waiting.failed.update(dict.fromkeys(units, str(error)))
        return waiting

    async def close(self) -> None:
        """Let go of what is going on."""
        for task in self._preparing.values():
            task.cancel()
        await asyncio.gather(*self._preparing.values(), return_exceptions=True)
        self._preparing.clear()

    def units(self) -> list[Unit]:
        """Every version that can be run and has been prepared."""
        found: dict[str, Unit] = {}
        functions = self._registry.image.functions()
        self._known = {one.name: self._known[one.name] for one in functions if one.name in self._known}
        for function in functions:
            found.update((unit.name, unit) for unit in self._units_of(function))
        for name, minimum in self._minimums().items():
            if name in found:
                found[name] = replace(found[name], minimum=minimum)
        return list(found.values())

    def _units_of(self, function: Function) -> list[Unit]:
        """Units of one function; worked out again only when something of it has changed."""
        change = self._registry.image.changes(function.name)
        known = self._known.get(function.name)
        if known is not None and known[0] == change:
            return known[1]
        served = list(self._served_of(function.name))
        ready = [(one, self._prepared[key]) for one in served if (key := self._key(one)) in self._prepared]
        units = [self._unit(function, version, prepared) for version, prepared in ready]
        if len(ready) == len(served):
            self._known[function.name] = (change, units)
        return units

    def _served(self) -> Iterator[Version]:
        """Versions that have code to run, LATEST with the configuration that goes with it."""
        for function in self._registry.image.functions():
            yield from self._served_of(function.name)

    def _served_of(self, name: str) -> Iterator[Version]:
        for version in self._registry.image.of(Version, name):
            if version.serving:
                fallback = self._registry.image.get(Fallback, name)
                if version.version == LATEST and fallback is not None and not fallback.package:
                    version = replace(version, configuration=fallback.configuration)
                yield version

    def _key(self, version: Version) -> Key:
        return (version.serving, version.configuration.runtime, *self._layer_packages(version.configuration))

    def _layer_packages(self, configuration: Configuration) -> list[str]:
        """The layers' packages, the one whose files win first: Lambda's last layer, FC's first."""
        found = [self._layer_package(arn) for arn in configuration.layers]
        return found[::-1] if configuration.dialect == "lambda" else found

    def _layer_package(self, arn: str) -> str:
        name, number = names.layer_of(arn)
        image = self._registry.image
        found = image.get(LayerVersion, name, number) or image.get(GoneLayer, name, number)
        return found.package if found is not None else ""

    async def _prepare(self, version: Version) -> Prepared:
        registry = self._registry
        package = registry.image.get(Package, version.serving)
        if package is None:
            raise OperationError(f"The package of {version.function}:{version.version} is gone.", "code")
        directory = await registry.packages.unpack(package)
        runtime = version.configuration.runtime
        if package.requirements:
            lock = registry.image.get(Lock, package.hash, registry.environments.python(runtime).minor)
            if lock is None or not registry.environments.has(lock.environment):
                raise OperationError(f"The environment of {version.function} is not there.", "environment")
            interpreter = await registry.environments.interpreter(lock.environment)
        else:
            interpreter = await registry.environments.plain(runtime)
        layers = []
        for digest in self._layer_packages(version.configuration):
            layer = registry.image.get(Package, digest)
            if layer is not None:
                layers.append(await registry.packages.unpack(layer))
        # Modules lie where both services look for them.
        return Prepared(
            str(directory),
            str(directory / packages.SNAPSHOT) if package.kind == "snap" else "",
            interpreter,
            tuple(map(str, layers)),
            _present(layers, f"python/lib/python{interpreter.version}/site-packages", "python"),
            _present(layers, "lib"),
            _present(layers, "bin"),
            snapshots.signer(directory / packages.SNAPSHOT) if package.kind == "snap" else "",
        )

    def _unit(self, function: Function, version: Version, prepared: Prepared) -> Unit:
        configuration, interpreter = version.configuration, prepared.interpreter
        overrides: dict[str, Any] = {**configuration.settings, "timeout": configuration.timeout}
        if configuration.memory is not None:
            overrides["memory"] = configuration.memory * MB
        if configuration.concurrency is not None:
            overrides["concurrency"] = configuration.concurrency
        if configuration.env:
            overrides["env"] = {**configuration.settings.get("env", {}), **configuration.env}
        home = self._registry.packages.places.home(function.name, function.created)
        where = environment.Where(
            prepared.directory, str(home), prepared.layers, prepared.libraries, prepared.programs
        )
        unit = Unit(
            name=names.unit(version.function, version.version),
            revision="",
            target=prepared.snapshot or target_of(configuration.handler),
            app_dir=prepared.directory,
            python=interpreter.path,
            python_version=interpreter.version,
            kind=kind_of(configuration),
            borrow=tuple(interpreter.borrow),
            paths=prepared.modules,
            opt=prepared.layers,
            overrides=overrides,
            environment=environment.of(version, where, self._site),
            initializer=_hook(configuration.initializer),
            pre_stop=_hook(configuration.pre_stop),
            context=self._context(version, configuration),
            signer=prepared.signer,
        )
        text = json.dumps(unit.as_dict(), sort_keys=True)
        return replace(unit, revision=hashlib.sha256(text.encode()).hexdigest()[:16])

    def _context(self, version: Version, configuration: Configuration) -> dict[str, Any]:
        return {
            "dialect": configuration.dialect,
            "name": version.function,
            "version": version.version,
            "memory": configuration.memory,
            "timeout": configuration.timeout,
            "handler": configuration.handler,
            "region": self._site.region,
            "account": self._site.account,
            "arn": names.function_arn(
                configuration.dialect, self._site.region, self._site.account, version.function
            ),
            "concurrency": configuration.concurrency,
        }

    def _minimums(self) -> dict[str, int]:
        """Provisioned instances by unit: of several configs that mean one version, the largest."""
        found: dict[str, int] = {}
        for config in self._registry.image.all(ProvisionConfig):
            for version, count in self._registry.shares(config).items():
                unit = names.unit(config.function, version)
                found[unit] = max(found.get(unit, 0), count)
        return found


def kind_of(configuration: Configuration) -> str:
    """What the handler may be: in the managed runtimes of Lambda and FC it is a function of events unless it
    shows to be a web app; elsewhere its arguments have to tell."""
    managed = configuration.dialect == "fc" and configuration.runtime.startswith("python3")
    return "handler" if managed or configuration.dialect == "lambda" else "auto"


def target_of(handler: str) -> str:
    """A handler as a target: "src/index.handler" is src.index:handler; what is a target already stays."""
    if ":" in handler:
        return handler
    module, dot, attribute = handler.replace("/", ".").rpartition(".")
    return f"{module}:{attribute}" if dot and module else handler


def _hook(hook: Hook | None) -> dict[str, Any] | None:
    return {"handler": hook.handler, "timeout": hook.timeout} if hook is not None else None


def _present(layers: list[Path], *inside: str) -> tuple[str, ...]:
    """Those of the directories `inside` that the layers have, the first layer's first."""
    return tuple(str(layer / part) for layer in layers for part in inside if (layer / part).is_dir())
