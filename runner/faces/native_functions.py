"""The native face's endpoints for what is deployed: functions, versions, aliases, URLs, limits, triggers."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from snapfork.runner.faces.auth import permit_destination, permit_watching
from snapfork.runner.faces.native import Asked, Endpoint, unpack_deploy
from snapfork.runner.faces.native_plain import changes
from snapfork.runner.registry.defaults import DEFAULTS
from snapfork.runner.registry.errors import AlreadyExists, Invalid, NotFound
from snapfork.runner.registry.model import LATEST, Alias, AsyncConfig, Configuration, ProvisionConfig, Version
from snapfork.runner.registry.operations import Operations

DEPLOY_LIMIT = DEFAULTS["runner"].zip_bytes + (2 << 20)
PAGE = 1000
HANDLER = "app"
"""What is served where nobody says: the module of that name, in it the usual names of an app."""


class FunctionEndpoints:
    """Thin: each asks one operation. `addresses`: where a function answers HTTP."""

    def __init__(self, operations: Operations, addresses: Callable[[str], list[str]]) -> None:
        self._operations = operations
        self._addresses = addresses

    def endpoints(self) -> list[Endpoint]:
        one, functions = ("functions", "*"), ("functions",)
        return [
            Endpoint("GET", functions, self.list),
            Endpoint("POST", one, self.deploy, own=True, limit=DEPLOY_LIMIT),
            Endpoint("GET", one, self.show, own=True),
            Endpoint("DELETE", one, self.delete, own=True),
            Endpoint("GET", (*one, "progress"), self.progress, own=True),
            Endpoint("GET", (*one, "addresses"), self.addresses, own=True),
            Endpoint("GET", (*one, "versions"), self.versions, own=True),
            Endpoint("POST", (*one, "versions"), self.publish, own=True),
            Endpoint("GET", (*one, "aliases"), self.aliases, own=True),
            Endpoint("PUT", (*one, "aliases", "*"), self.set_alias, own=True),
            Endpoint("DELETE", (*one, "aliases", "*"), self.delete_alias, own=True),
            Endpoint("GET", (*one, "urls"), self.urls, own=True),
            Endpoint("PUT", (*one, "urls"), self.set_url, own=True),
            Endpoint("DELETE", (*one, "urls"), self.delete_url, own=True),
            Endpoint("PUT", (*one, "reserved"), self.set_reserved, own=True),
            Endpoint("PUT", (*one, "provisioned"), self.set_provisioned, own=True),
            Endpoint("PUT", (*one, "async"), self.set_async, own=True),
            Endpoint("GET", (*one, "async"), self.get_async, own=True),
            Endpoint("GET", (*one, "triggers"), self.triggers, own=True),
            Endpoint("PUT", (*one, "triggers", "*"), self.set_trigger, own=True),
            Endpoint("DELETE", (*one, "triggers", "*"), self.delete_trigger, own=True),
        ]

    # -- functions -------------------------------------------------------------------------------------

    async def list(self, asked: Asked) -> dict[str, Any]:
        prefix, start = asked.query.get("prefix", ""), asked.query.get("start", "")
        found, after = self._operations.list(prefix, start, asked.count("limit", PAGE))
        return {"functions": [{"function": one, "latest": latest} for one, latest in found], "next": after}

    async def deploy(self, asked: Asked) -> dict[str, Any]:
        """Make the function, or give it other code and configuration, whatever is in progress; with "publish"
        a version, with "alias" that alias moves to it."""
        (name,) = asked.names
        about, package = unpack_deploy(asked.body)
        given = changes(about.get("configuration") or {})
        publish = bool(about.get("publish") or about.get("alias"))
        version = await self._create(name, given, package, publish, about.get("tags") or {})
        created = version is not None
        if version is None:
            digest = hashlib.sha256(package).hexdigest() if package else ""
            same = digest == self._operations.get(name)[1].package
            changed = package if package and not same else None
            version = await self._operations.update(name, changed, given, publish, supersede=True)
        moved = None
        if alias := about.get("alias"):
            moved = await self._move(name, str(alias), version.version)
        return {"version": version, "alias": moved, "created": created}

    async def _create(
        self, name: str, given: dict[str, Any], package: bytes, publish: bool, tags: dict[str, str]
    ) -> Version | None:
        """The version of a new function; None if there is one of that name, also if only since now."""
        operations = self._operations
        with contextlib.suppress(AlreadyExists):
            try:
                operations.get(name)
            except NotFound:
                if not package:
                    raise Invalid("A new function needs its code.", "package") from None
                configuration = _configuration(given)
                return await operations.create(name, configuration, package, "runner", publish, tags)
        return None

    async def show(self, asked: Asked) -> dict[str, Any]:
        (name,) = asked.names
        qualifier = asked.query.get("qualifier", "")
        function, version, alias = self._operations.get(name, qualifier)
        return {
            "function": function,
            "version": version,
            "alias": alias,
            "async": self._operations.async_policy(name, qualifier),
            "urls": self._operations.list_urls(name)[0],
        }

    async def progress(self, asked: Asked) -> dict[str, Any]:
        """How far the installation of a function's packages is."""
        (name,) = asked.names
        version = self._operations.get(name)[1]
        return {"version": version, "lines": self._operations.build_progress(name)}

    async def addresses(self, asked: Asked) -> dict[str, Any]:
        """Where it answers HTTP; "open": at the first two of them to everybody who reaches the port."""
        (name,) = asked.names
        open_to_all = self._operations.addresses.is_open(self._operations.function(name))
        return {"addresses": self._addresses(name), "open": open_to_all}

    async def delete(self, asked: Asked) -> dict[str, Any]:
        await self._operations.delete(asked.names[0], asked.query.get("qualifier", ""))
        return {}

    # -- versions and aliases --------------------------------------------------------------------------

    async def versions(self, asked: Asked) -> dict[str, Any]:
        (name,) = asked.names
        versions: list[Version] = self._operations.versions(name, limit=PAGE)[0]
        aliases: list[Alias] = self._operations.alias_list(name, limit=PAGE)[0]
        return {"versions": versions, "aliases": aliases}

    async def publish(self, asked: Asked) -> Version:
        """{"description", "revision"}: of LATEST, which must have that revision if one is given."""
        given = asked.json()
        return await self._operations.publish(
            asked.names[0], given.get("description"), revision=given.get("revision")
        )

    async def aliases(self, asked: Asked) -> dict[str, Any]:
        return {"aliases": self._operations.alias_list(asked.names[0], limit=PAGE)[0]}

    async def set_alias(self, asked: Asked) -> Alias:
        """Make or move an alias: {"version", "weights": {version: share}}."""
        name, alias = asked.names
        given = asked.json()
        weights = given.get("weights") or {}
        if not isinstance(weights, dict) or not all(
            isinstance(one, (int, float)) for one in weights.values()
        ):
            raise Invalid("weights must be an object of shares from 0 to 1.", "weights")
        return await self._move(name, alias, str(given.get("version") or ""), weights)

    async def _move(
        self, name: str, alias: str, version: str, weights: dict[str, float] | None = None
    ) -> Alias:
        try:
            self._operations.alias_get(name, alias)
        except NotFound:
            if not version:
                raise Invalid("A new alias needs the version it points to.", "version") from None
            return await self._operations.alias_create(name, alias, version, weights)
        return await self._operations.alias_update(name, alias, version or None, weights or {})

    async def delete_alias(self, asked: Asked) -> dict[str, Any]:
        await self._operations.alias_delete(*asked.names)
        return {}

    # -- addresses, limits, asynchronous invocation, triggers ------------------------------------------

    async def urls(self, asked: Asked) -> dict[str, Any]:
        return {"urls": self._operations.list_urls(asked.names[0])[0]}

    async def set_url(self, asked: Asked) -> Any:
        (name,) = asked.names
        given, qualifier = asked.json(), asked.query.get("qualifier", "")
        auth = str(given.get("auth") or "AWS_IAM")
        mode = given.get("invoke_mode")
        try:
            self._operations.get_url(name, qualifier)
        except NotFound as error:
            if error.kind != "url":
                raise
            return await self._operations.set_url(name, qualifier, auth, None, mode, create=True)
        return await self._operations.set_url(name, qualifier, auth, None, mode, create=False)

    async def delete_url(self, asked: Asked) -> dict[str, Any]:
        await self._operations.delete_url(asked.names[0], asked.query.get("qualifier", ""))
        return {}

    async def set_reserved(self, asked: Asked) -> Any:
        """{"reserved": N or null}."""
        reserved = asked.json().get("reserved")
        if reserved is not None and (isinstance(reserved, bool) or not isinstance(reserved, int)):
            raise Invalid("reserved must be a whole number or null.", "reserved")
        return await self._operations.set_reserved(asked.names[0], reserved)

    async def set_provisioned(self, asked: Asked) -> Any:
        """{"target": N} for the version or alias `qualifier`; 0 takes it away."""
        (name,) = asked.names
        target, qualifier = asked.json().get("target"), asked.query.get("qualifier", LATEST)
        if isinstance(target, bool) or not isinstance(target, int):
            raise Invalid("target must be a whole number.", "target")
        if target == 0:
            await self._operations.delete_provision(name, qualifier)
            return {}
        return await self._operations.set_provision(ProvisionConfig(name, qualifier, target))

    async def set_async(self, asked: Asked) -> AsyncConfig:
        """Any of retries, retry_delays, max_age, on_success, on_failure, dead_letter, tasks."""
        (name,) = asked.names
        given, qualifier = asked.json(), asked.query.get("qualifier", "")
        known = ("retries", "retry_delays", "max_age", "on_success", "on_failure", "dead_letter", "tasks")
        for member, value in given.items():
            if member not in known:
                raise Invalid(f"{member!r} is none of {', '.join(known)}.", member)
            _check_async(member, value)
            if member in ("on_success", "on_failure", "dead_letter") and value:
                permit_destination(asked.key, value)
        if "retry_delays" in given:
            given["retry_delays"] = tuple(float(one) for one in given["retry_delays"])
        policy = self._operations.async_policy(name, qualifier)
        return await self._operations.set_async(replace(policy, function=name, qualifier=qualifier, **given))

    async def get_async(self, asked: Asked) -> AsyncConfig:
        return self._operations.async_policy(asked.names[0], asked.query.get("qualifier", ""))

    async def triggers(self, asked: Asked) -> dict[str, Any]:
        return {"triggers": self._operations.trigger_list(asked.names[0], limit=PAGE)[0]}

    async def set_trigger(self, asked: Asked) -> Any:
        """{"kind", "config", "qualifier", "enabled"}: makes it, or changes it where it exists."""
        name, trigger = asked.names
        given = asked.json()
        config, qualifier = given.get("config"), given.get("qualifier")
        if config is not None and not isinstance(config, dict):
            raise Invalid("config must be an object.", "config")
        enabled = given.get("enabled")
        if config is not None and "directory" in config:
            permit_watching(asked.key)
        try:
            self._operations.trigger_get(name, trigger)
        except NotFound as error:
            if error.kind != "trigger":
                raise
            kind = str(given.get("kind") or "")
            return await self._operations.trigger_create(
                name, trigger, kind, config or {}, qualifier or "", enabled=enabled
            )
        return await self._operations.trigger_update(name, trigger, config, qualifier, enabled=enabled)

    async def delete_trigger(self, asked: Asked) -> dict[str, Any]:
        await self._operations.trigger_delete(*asked.names)
        return {}


def _configuration(given: dict[str, Any]) -> Configuration:
    default = DEFAULTS["runner"]
    filled = {
        "handler": HANDLER,
        "runtime": default.runtime,
        "timeout": default.timeout,
        "memory": default.memory,
    }
    return Configuration(**{**filled, **given, "dialect": "runner"})


def _check_async(member: str, value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    right = {
        "retries": isinstance(value, int) and number,
        "retry_delays": isinstance(value, list)
        and bool(value)
        and all(isinstance(one, (int, float)) and 0 <= one <= 86_400 for one in value),
        "max_age": value is None or number,
        "tasks": isinstance(value, bool),
    }.get(member, isinstance(value, str))
    if not right:
        raise Invalid(f"{member} cannot be {value!r}.", member)
