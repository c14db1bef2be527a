"""Where functions are reached over HTTP: every address with its route.

    NAME.localhost, /NAME/                        the unqualified function
    ID.lambda-url.REGION.localhost, /lambda-url/ID/    function URLs
    ID.REGION.fcapp.localhost, /fcapp/ID/              HTTP triggers of FC
    a custom domain's host                             its routes, which keep the path as it came

NAME.localhost asks for no signature if the function was deployed by the runner's own face; one that came
over Lambda's or FC's API is reached there as on those services, by a signed request, unless a URL or HTTP
trigger of the unqualified function is open to everybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from snapfork.runner.policy import cors
from snapfork.runner.policy.routing import Table
from snapfork.runner.registry import domains, names
from snapfork.runner.registry.errors import OperationError
from snapfork.runner.registry.image import Image
from snapfork.runner.registry.model import CustomDomain, Function, FunctionUrl, Trigger
from snapfork.runner.units import UnitRoute


class Registry(Protocol):
    """What this needs of `Operations`."""

    image: Image

    def choices(self, name: str, qualifier: str) -> list[tuple[str, float]]: ...


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


class Addresses:
    """All of them; what has not changed is not worked out again."""

    def __init__(self, registry: Registry, region: str) -> None:
        self._registry = registry
        self._region = region
        self._known: dict[str, tuple[int, list[HttpOwner]]] = {}
        self._parts: list[list[HttpOwner]] = []
        self._all: list[HttpOwner] = []
        self._owners: dict[UnitRoute, HttpOwner] = {}
        self._table = Table()

    def owners(self) -> list[HttpOwner]:
        """Every address, exact paths before those below them; the same list as long as it is the same."""
        functions = self._registry.image.functions()
        self._known = {one.name: self._known[one.name] for one in functions if one.name in self._known}
        of_domains = [
            owner for one in self._registry.image.all(CustomDomain) for owner in self._of_domain(one)
        ]
        parts = [*(self._owners_of(one) for one in functions), of_domains]
        if parts == self._parts:
            return self._all
        self._parts = parts
        found: list[HttpOwner] = []
        taken: set[tuple[str | None, str]] = set()
        for owner in (owner for part in parts[:-1] for owner in part):
            place = (owner.route.host, owner.route.prefix)
            if place not in taken:  # Shop and shop are one host name: the first has it
                taken.add(place)
                found.append(owner)
        self._all = sorted([*found, *of_domains], key=lambda one: not one.route.exact)
        self._owners = {one.route: one for one in reversed(self._all)}
        self._table = Table(one.route for one in self._all)
        return self._all

    def owner(self, host: str, path: str, method: str) -> HttpOwner | None:
        """Whose a request is, as the gateway would route it. host: lower-case, without a port."""
        route = self._table.find(host, path, method).route
        return self._owners[route] if route is not None else None

    def is_open(self, function: Function) -> bool:
        """Whether NAME.localhost is answered to everybody who reaches the port."""
        return self._auth(function) == "none"

    def _owners_of(self, function: Function) -> list[HttpOwner]:
        change = self._registry.image.changes(function.name)
        known = self._known.get(function.name)
        if known is not None and known[0] == change:
            return known[1]
        found = list(self._of_function(function))
        if known is not None and known[1] == found:
            found = known[1]  # compared by identity from now on, which takes no time
        self._known[function.name] = (change, found)
        return found

    def _of_function(self, function: Function) -> Iterator[HttpOwner]:
        name, region = function.name, self._region
        places = [(f"{name.lower()}.localhost", ""), (None, f"/{name}")]
        yield from self._owner(function, "", "function", self._auth(function), places)
        for url in self._registry.image.of(FunctionUrl, name):
            places = [(f"{url.id}.lambda-url.{region}.localhost", ""), (None, f"/lambda-url/{url.id}")]
            rules = cors.packed(url.cors)
            yield from self._owner(function, url.qualifier, "url", _auth_of_url(url), places, cors=rules)
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
                    cors.packed(trigger.config.get("corsConfig", {})),
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
                cors=cors.packed(domain.extra.get("corsConfig", {})),
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
        cors: str = "",
    ) -> Iterator[HttpOwner]:
        try:
            choices = self._registry.choices(function.name, qualifier)
        except OperationError:  # a domain's route to an alias that is gone
            return
        units = tuple((names.unit(function.name, version), weight) for version, weight in choices)
        reserved = 0 if function.disabled is not None else function.reserved
        asked = "signed" if closed else auth  # so that whoever judges can say 403
        for host, prefix in places:
            route = UnitRoute(host, prefix, units, function.name, asked, reserved, methods=methods, cors=cors)
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


def _auth_of_url(url: FunctionUrl) -> str:
    return "none" if url.auth == "NONE" else "signed"


def _auth_of_trigger(trigger: Trigger) -> str:
    return "none" if trigger.config["authType"] == "anonymous" else "signed"
