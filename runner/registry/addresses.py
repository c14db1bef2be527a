"""Operations on what leads to functions: function URLs, triggers and custom domains."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from snapfork.runner.registry import directories, domains, names, trigger_checks
from snapfork.runner.registry.core import Core, page
from snapfork.runner.registry.errors import AlreadyExists, Invalid, LimitExceeded, NotFound
from snapfork.runner.registry.model import CustomDomain, FunctionUrl, Trigger

AUTHS = ("NONE", "AWS_IAM")
INVOKE_MODES = ("BUFFERED", "RESPONSE_STREAM")
MOST_TRIGGERS = 50
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def new_id(length: int = 32) -> str:
    """A random name that may stand in a host name."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class AddressOperations(Core):
    """See `Operations`."""

    # -- function URLs ----------------------------------------------------------------------------------

    async def set_url(
        self,
        name: str,
        qualifier: str = "",
        auth: str | None = None,
        cors: Mapping[str, Any] | None = None,
        invoke_mode: str | None = None,
        *,
        create: bool,
    ) -> FunctionUrl:
        """Make (`create`) or change the URL of a function or alias; None leaves a member as it is.

        Raises AlreadyExists, NotFound (kind "url"), Invalid.
        """
        if auth is not None and auth not in AUTHS:
            raise Invalid(f"The auth type of a URL is NONE or AWS_IAM, not {auth!r}.", "auth")
        if invoke_mode is not None and invoke_mode not in INVOKE_MODES:
            raise Invalid("The invoke mode of a URL is BUFFERED or RESPONSE_STREAM.", "invoke_mode")
        async with self._changing:
            kept = self._url_qualifier(name, qualifier)
            now = self.clock()
            before = self.image.get(FunctionUrl, name, kept)
            if create:
                if before is not None:
                    raise AlreadyExists(
                        f"Function {name} has a URL for {kept or 'LATEST'} already.", "url", name
                    )
                if auth is None:
                    raise Invalid("A URL needs its auth type: NONE or AWS_IAM.", "auth")
                before = FunctionUrl(name, kept, new_id(), auth, created=now)
            elif before is None:
                raise self._no_url(name, kept)
            after = replace(
                before,
                auth=before.auth if auth is None else auth,
                cors=before.cors if cors is None else dict(cors),
                invoke_mode=before.invoke_mode if invoke_mode is None else invoke_mode,
                modified=now,
            )
            await self.commit([after], about=[("function", name)])
        await self.settle()
        return after

    def get_url(self, name: str, qualifier: str = "") -> FunctionUrl:
        """Raises NotFound (kind "url")."""
        kept = self._url_qualifier(name, qualifier)
        found = self.image.get(FunctionUrl, name, kept)
        if found is None:
            raise self._no_url(name, kept)
        return found

    def list_urls(self, name: str, start: str = "", limit: int = 50) -> tuple[list[FunctionUrl], str]:
        self.function(name)
        return page(self.image.of(FunctionUrl, name), lambda one: one.id, start, limit)

    async def delete_url(self, name: str, qualifier: str = "") -> None:
        """Raises NotFound."""
        async with self._changing:
            await self.commit([], [self.get_url(name, qualifier)], [("function", name)])
        await self.settle()

    def _url_qualifier(self, name: str, qualifier: str) -> str:
        kept = self.check_qualifier(name, qualifier)
        if kept.isdigit():
            raise Invalid("A URL belongs to the function or to an alias, not to a version.", "qualifier")
        return kept

    @staticmethod
    def _no_url(name: str, qualifier: str) -> NotFound:
        return NotFound(f"Function {name} has no URL for {qualifier or 'LATEST'}.", "url", name)

    # -- triggers ---------------------------------------------------------------------------------------

    async def trigger_create(
        self,
        function: str,
        name: str,
        kind: str,
        config: Mapping[str, Any],
        qualifier: str = "",
        description: str = "",
        enabled: bool | None = None,
    ) -> Trigger:
        """Make a trigger of kind "http", "timer", "oss" or "s3". `enabled`: by default as its config says.

        Raises AlreadyExists, NotFound of the qualifier, Invalid (member "config").
        """
        names.check(names.TRIGGER, name, "a trigger", "name")
        checked = trigger_checks.check(kind, config)
        await _check_size(kind, checked)
        async with self._changing:
            kept = self.check_qualifier(function, qualifier)
            there = self.image.of(Trigger, function)
            if any(one.name == name for one in there):
                raise AlreadyExists(f"Function {function} has a trigger {name} already.", "trigger", name)
            if len(there) >= MOST_TRIGGERS:
                raise LimitExceeded(f"A function has at most {MOST_TRIGGERS} triggers.", "trigger")
            now = self.clock()
            made = Trigger(
                *(function, name, kind, kept, checked),
                enabled=trigger_checks.is_enabled(kind, checked) if enabled is None else enabled,
                description=description,
                id=new_id(20),
                created=now,
                modified=now,
            )
            self._one_http(made)
            await self.commit([made], about=[("function", function)])
        await self.settle()
        return made

    async def trigger_update(
        self,
        function: str,
        name: str,
        config: Mapping[str, Any] | None = None,
        qualifier: str | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Trigger:
        """Change what is given. Raises NotFound, Invalid."""
        if config is not None or enabled:
            there = self.trigger_get(function, name)
            wanted = there.config if config is None else trigger_checks.check(there.kind, config)
            await _check_size(there.kind, wanted)
        async with self._changing:
            before = self.trigger_get(function, name)
            checked = before.config if config is None else trigger_checks.check(before.kind, config)
            said = trigger_checks.is_enabled(before.kind, checked) if config is not None else before.enabled
            after = replace(
                before,
                config=checked,
                qualifier=before.qualifier
                if qualifier is None
                else self.check_qualifier(function, qualifier),
                description=before.description if description is None else description,
                enabled=said if enabled is None else enabled,
                modified=self.clock(),
            )
            self._one_http(after)
            await self.commit([after], about=[("function", function)])
        await self.settle()
        return after

    def trigger_get(self, function: str, name: str) -> Trigger:
        """Raises NotFound (kind "trigger")."""
        self.function(function)
        found = self.image.get(Trigger, function, name)
        if found is None:
            raise NotFound(f"Function {function} has no trigger {name}.", "trigger", name)
        return found

    def trigger_list(
        self, function: str, prefix: str = "", start: str = "", limit: int = 50
    ) -> tuple[list[Trigger], str]:
        self.function(function)
        found = [one for one in self.image.of(Trigger, function) if one.name.startswith(prefix)]
        return page(found, lambda one: one.name, start, limit)

    def triggers(self, kind: str) -> list[Trigger]:
        """All triggers of a kind, of all functions; for those who run them."""
        return [one for one in self.image.all(Trigger) if one.kind == kind]

    async def trigger_delete(self, function: str, name: str) -> None:
        """Raises NotFound."""
        async with self._changing:
            await self.commit([], [self.trigger_get(function, name)], [("function", function)])
        await self.settle()

    def _one_http(self, trigger: Trigger) -> None:
        for other in self.image.of(Trigger, trigger.function):
            same = other.qualifier == trigger.qualifier and other.name != trigger.name
            if same and trigger.kind == other.kind == "http":
                raise AlreadyExists(
                    f"{trigger.function} has an HTTP trigger for {trigger.qualifier or 'LATEST'} already: "
                    f"{other.name}.",
                    *("trigger", other.name),
                )

    # -- custom domains ---------------------------------------------------------------------------------

    async def domain_create(
        self,
        name: str,
        protocol: str,
        routes: Sequence[Mapping[str, Any]],
        extra: Mapping[str, Any] | None = None,
    ) -> CustomDomain:
        """Have a host lead to functions (routes: domains.py). Raises AlreadyExists, Invalid, NotFound."""
        host = names.check(names.HOST, name.lower(), "a domain", "name")
        async with self._changing:
            if self.image.get(CustomDomain, host) is not None:
                raise AlreadyExists(f"There is a domain {host} already.", "domain", host)
            now = self.clock()
            made = CustomDomain(host, protocol, self._routes(routes), dict(extra or {}), now, now)
            domains.check_protocol(protocol)
            await self.commit([made], about=[("domain", host)])
        await self.settle()
        return made

    async def domain_update(
        self,
        name: str,
        protocol: str | None = None,
        routes: Sequence[Mapping[str, Any]] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> CustomDomain:
        """Change what is given. Raises NotFound, Invalid."""
        async with self._changing:
            before = self.domain_get(name)
            after = replace(
                before,
                protocol=before.protocol if protocol is None else protocol,
                routes=before.routes if routes is None else self._routes(routes),
                extra=before.extra if extra is None else dict(extra),
                modified=self.clock(),
            )
            domains.check_protocol(after.protocol)
            await self.commit([after], about=[("domain", after.name)])
        await self.settle()
        return after

    def domain_get(self, name: str) -> CustomDomain:
        """Raises NotFound (kind "domain")."""
        found = self.image.get(CustomDomain, name.lower())
        if found is None:
            raise NotFound(f"There is no domain {name}.", "domain", name)
        return found

    def domain_list(
        self, prefix: str = "", start: str = "", limit: int = 50
    ) -> tuple[list[CustomDomain], str]:
        found = [one for one in self.image.all(CustomDomain) if one.name.startswith(prefix)]
        return page(found, lambda one: one.name, start, limit)

    async def domain_delete(self, name: str) -> None:
        """Raises NotFound."""
        async with self._changing:
            gone = self.domain_get(name)
            await self.commit([], [gone], [("domain", gone.name)])
        await self.settle()

    def _routes(self, routes: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
        checked = domains.check_routes(routes)
        return tuple(
            {**route, "qualifier": self.check_qualifier(route["function"], route["qualifier"])}
            for route in checked
        )


async def _check_size(kind: str, config: Mapping[str, Any]) -> None:
    """Raise Invalid for a directory that is too large to be watched."""
    if kind not in trigger_checks.DIRECTORY_KINDS:
        return
    try:
        await asyncio.to_thread(directories.check_size, config["directory"])
    except directories.Crowded as error:
        raise Invalid(str(error), "directory") from None
