"""Where functions answer HTTP on the serving port, as people and both dialects are told."""

from __future__ import annotations

from urllib.parse import urlsplit

from snapfork.runner.registry.core import Site
from snapfork.runner.registry.model import CustomDomain, FunctionUrl, Trigger
from snapfork.runner.registry.operations import Operations

ANYWHERE = ("0.0.0.0", "::")


class Places:
    """`urls`: the runner's listeners, as they were printed at its start."""

    def __init__(self, operations: Operations, site: Site, urls: list[str]) -> None:
        self._operations = operations
        self._site = site
        web = [urlsplit(url) for url in urls if url.startswith("http")]
        self._port = f":{web[0].port}" if web and web[0].port else ""
        host = web[0].hostname if web else None
        shown = "127.0.0.1" if host in (None, *ANYWHERE) else f"[{host}]" if ":" in str(host) else host
        self._base = f"http://{shown}{self._port}"

    def lambda_url(self, url: FunctionUrl) -> str:
        """The address of a function URL."""
        return f"http://{url.id}.lambda-url.{self._site.region}.localhost{self._port}/"

    def fc_url(self, function: str, qualifier: str) -> str:
        """The address of a function's HTTP trigger, "" without one."""
        for trigger in self._operations.image.of(Trigger, function):
            if trigger.kind == "http" and trigger.qualifier == qualifier:
                return f"http://{trigger.id}.{self._site.region}.fcapp.localhost{self._port}"
        return ""

    def of(self, name: str) -> list[str]:
        """Every address of a function. Raises NotFound."""
        image = self._operations.image
        self._operations.function(name)
        found = [f"http://{name.lower()}.localhost{self._port}/", f"{self._base}/{name}/"]
        found += [self.lambda_url(one) for one in image.of(FunctionUrl, name)]
        for trigger in image.of(Trigger, name):
            if trigger.kind == "http":
                found.append(self.fc_url(name, trigger.qualifier) + "/")
        for domain in image.all(CustomDomain):
            found += [
                f"http://{domain.name}{self._port}{route['path']}"
                for route in domain.routes
                if route["function"] == name
            ]
        return found
