"""What the registry implies for the gateway: the units to serve, and the routes that lead to them.

    NAME.localhost, /NAME/                        the unqualified function
    ID.lambda-url.REGION.localhost, /lambda-url/ID/    function URLs
    ID.REGION.fcapp.localhost, /fcapp/ID/              HTTP triggers of FC
    a custom domain's host                             its routes, which keep the path as it came

NAME.localhost asks for no signature if the function was deployed by the runner's own face; one that came
over Lambda's or FC's API is reached there as on those services, by a signed request, unless a URL or HTTP
trigger of the unqualified function is open to everybody.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from snapfork.runner.policy.routing import Table
from snapfork.runner.registry import domains, environment, names, packages
from snapfork.runner.registry.core import Site
from snapfork.runner.registry.environments import Environments
from snapfork.runner.registry.errors import OperationError
from snapfork.runner.registry.image import Image
from snapfork.runner.registry.model import (
    LATEST,
    Configuration,
    CustomDomain,
    Function,
    FunctionUrl,
    Hook,
    LayerVersion,
    ProvisionConfig,
    Trigger,
    Version,
)
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.rows import Fallback, GoneLayer, Lock, Package
from snapfork.runner.serve_config import Interpreter
from snapfork.runner.units import Unit, UnitRoute

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
class HttpOwner:
    """Whose a route is. kind: "function", "url", "trigger", "domain". auth: "none" or "signed". closed: FC's
    disableURLInternet: to be refused with 403, whoever signs."""

    route: UnitRoute
    function: str
    qualifier: str
    kind: str
    auth: str
    closed: bool = False


@dataclass(frozen=True)
class Prepared:
    """What a version's processes run on. modules, libraries, programs: directories of its layers."""

    directory: str
    snapshot: str
    interpreter: Interpreter
    modules: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


@dataclass
class Waiting:
    """Units that cannot be told yet: being prepared, or why they cannot be."""

    going_on: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)


class Deduction:
    """Units and routes of the whole registry. `prepare` before `units`, after every change."""

    def __init__(self, registry: Registry, site: Site) -> None:
        self._registry = registry
        self._site = site
        self._prepared: dict[Key, Prepared] = {}
        self._preparing: dict[Key, asyncio.Task[Prepared]] = {}
        self._owners: dict[UnitRoute, HttpOwner] = {}
        self._table = Table()

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
        minimums = self._minimums()
        found = []
        for version in self._served():
            prepared = self._prepared.get(self._key(version))
            if prepared is not None:
                unit = self._unit(version, prepared)
                found.append(replace(unit, minimum=minimums.get(unit.name, 0)))
        return found

    def _served(self) -> Iterator[Version]:
        """Versions that have code to run, LATEST with the configuration that goes with it."""
        for version in self._registry.image.all(Version):
            if version.serving:
                fallback = self._registry.image.get(Fallback, version.function)
                if version.version == LATEST and fallback is not None:
                    version = replace(version, configuration=fallback.configuration)
                yield version

    def _key(self, version: Version) -> Key:
        layers = [self._layer_package(arn) for arn in version.configuration.layers]
        return (version.serving, version.configuration.runtime, *layers)

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
        for arn in version.configuration.layers:
            layer = registry.image.get(Package, self._layer_package(arn))
            if layer is not None:
                layers.append(await registry.packages.unpack(layer))
        # Modules lie where both services look for them.
        return Prepared(
            str(directory),
            str(directory / packages.SNAPSHOT) if package.kind == "snap" else "",
            interpreter,
            _present(layers, f"python/lib/python{interpreter.version}/site-packages", "python"),
            _present(layers, "lib"),
            _present(layers, "bin"),
        )

    def _unit(self, version: Version, prepared: Prepared) -> Unit:
        configuration, interpreter = version.configuration, prepared.interpreter
        overrides: dict[str, Any] = {**configuration.settings, "timeout": configuration.timeout}
        overrides["memory"] = None if configuration.memory is None else configuration.memory * MB
        if configuration.concurrency is not None:
            overrides["concurrency"] = configuration.concurrency
        if configuration.env:
            overrides["env"] = {**configuration.settings.get("env", {}), **configuration.env}
        function = self._registry.image.get(Function, version.function)
        created = function.created if function is not None else 0.0
        home = self._registry.packages.places.home(version.function, created)
        where = environment.Where(prepared.directory, str(home), prepared.libraries, prepared.programs)
        unit = Unit(
            name=names.unit(version.function, version.version),
            revision="",
            target=prepared.snapshot or target_of(configuration.handler),
            app_dir=prepared.directory,
            python=interpreter.path,
            python_version=interpreter.version,
            borrow=tuple(interpreter.borrow),
            paths=prepared.modules,
            overrides=overrides,
            environment=environment.of(version, where, self._site),
            initializer=_hook(configuration.initializer),
            pre_stop=_hook(configuration.pre_stop),
            context=self._context(version, configuration),
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

    # -- routes -----------------------------------------------------------------------------------------

    def owners(self) -> list[HttpOwner]:
        """Every address with its route; exact paths before those below them."""
        found: list[HttpOwner] = []
        taken: set[tuple[str | None, str]] = set()
        for function in self._registry.image.functions():
            for owner in self._of_function(function):
                place = (owner.route.host, owner.route.prefix)
                if place not in taken:  # Shop and shop are one host name: the first has it
                    taken.add(place)
                    found.append(owner)
        for domain in self._registry.image.all(CustomDomain):
            found += self._of_domain(domain)
        found.sort(key=lambda one: not one.route.exact)
        self._owners = {one.route: one for one in reversed(found)}
        self._table = Table(one.route for one in found)
        return found

    def owner(self, host: str, path: str, method: str) -> HttpOwner | None:
        """Whose a request is, as the gateway would route it. host: lower-case, without a port."""
        route = self._table.find(host, path, method).route
        return self._owners[route] if route is not None else None

    def _of_function(self, function: Function) -> Iterator[HttpOwner]:
        name, region = function.name, self._site.region
        places = [(f"{name.lower()}.localhost", ""), (None, f"/{name}")]
        yield from self._owner(function, "", "function", self._auth(function), places)
        for url in self._registry.image.of(FunctionUrl, name):
            places = [(f"{url.id}.lambda-url.{region}.localhost", ""), (None, f"/lambda-url/{url.id}")]
            yield from self._owner(function, url.qualifier, "url", _auth_of_url(url), places)
        for trigger in self._registry.image.of(Trigger, name):
            if trigger.kind == "http" and trigger.enabled:
                places = [(f"{trigger.id}.{region}.fcapp.localhost", ""), (None, f"/fcapp/{trigger.id}")]
                yield from self._owner(
                    function,
                    trigger.qualifier,
                    "trigger",
                    _auth_of_trigger(trigger),
                    places,
                    tuple(trigger.config["methods"]),
                    bool(trigger.config["disableURLInternet"]),
                )

    def _of_domain(self, domain: CustomDomain) -> Iterator[HttpOwner]:
        for route in domain.routes:
            function = self._registry.image.get(Function, route["function"])
            if function is None:
                continue
            prefix, exact = domains.prefix_of(route["path"])
            for owner in self._owner(
                function,
                route["qualifier"],
                "domain",
                domains.auth_of(domain),
                [(domain.name, prefix)],
                tuple(route["methods"]),
            ):
                yield replace(owner, route=replace(owner.route, strip=False, exact=exact))

    def _owner(
        self,
        function: Function,
        qualifier: str,
        kind: str,
        auth: str,
        places: list[tuple[str, str]] | list[tuple[str | None, str]],
        methods: tuple[str, ...] = (),
        closed: bool = False,
    ) -> Iterator[HttpOwner]:
        try:
            choices = self._registry.choices(function.name, qualifier)
        except OperationError:  # a domain's route to an alias that is gone
            return
        units = tuple((names.unit(function.name, version), weight) for version, weight in choices)
        reserved = 0 if function.disabled is not None else function.reserved
        asked = "signed" if closed else auth  # so that whoever judges can say 403
        for host, prefix in places:
            route = UnitRoute(host, prefix, units, function.name, asked, reserved, methods=methods)
            yield HttpOwner(route, function.name, qualifier, kind, auth, closed)

    def _auth(self, function: Function) -> str:
        """Of NAME.localhost; see the module."""
        url = self._registry.image.get(FunctionUrl, function.name, "")
        if url is not None:
            return _auth_of_url(url)
        for trigger in self._registry.image.of(Trigger, function.name):
            if trigger.kind == "http" and not trigger.qualifier and trigger.enabled:
                closed = bool(trigger.config["disableURLInternet"])
                return "signed" if closed else _auth_of_trigger(trigger)
        return "none" if function.dialect == "runner" else "signed"


def target_of(handler: str) -> str:
    """A handler as a target: "src/index.handler" is src.index:handler; what is a target already stays."""
    if ":" in handler:
        return handler
    module, dot, attribute = handler.replace("/", ".").rpartition(".")
    return f"{module}:{attribute}" if dot and module else handler


def _auth_of_url(url: FunctionUrl) -> str:
    return "none" if url.auth == "NONE" else "signed"


def _auth_of_trigger(trigger: Trigger) -> str:
    return "none" if trigger.config["authType"] == "anonymous" else "signed"


def _hook(hook: Hook | None) -> dict[str, Any] | None:
    return {"handler": hook.handler, "timeout": hook.timeout} if hook is not None else None


def _present(layers: list[Path], *inside: str) -> tuple[str, ...]:
    """Those of the directories `inside` that the layers have, the first layer's first."""
    return tuple(str(layer / part) for layer in layers for part in inside if (layer / part).is_dir())
