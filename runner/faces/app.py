"""All faces on one listener: each request goes to the one whose path it has, the rest to `others`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snapfork.runner.faces import fc, fc_call, lambda_call
from snapfork.runner.faces.auth import Auth
from snapfork.runner.faces.downloads import PREFIX, Downloads
from snapfork.runner.faces.fc_names import Place as FcPlace
from snapfork.runner.faces.lambda_app import LambdaFace
from snapfork.runner.faces.lambda_names import Place as LambdaPlace
from snapfork.runner.registry.core import Site
from snapfork.runner.registry.model import FunctionUrl
from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from snapfork.runner.invocations.invoker import Invoker
    from snapfork.runner.invocations.queue import Queue
    from snapfork.runner.registry.operations import Operations


@dataclass(frozen=True)
class Addresses:
    """Where the serving port's functions are reached. lambda_url: of a function URL. fc_url: of (function,
    qualifier)'s HTTP trigger."""

    lambda_url: Callable[[FunctionUrl], str]
    fc_url: Callable[[str, str], str]


class Faces:
    """The ASGI app. `by_segment`: first segment of a path -> who answers it."""

    def __init__(self, by_segment: Mapping[bytes, ASGIApp], others: ASGIApp) -> None:
        self._by_segment = dict(by_segment)
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._others
        if scope["type"] == "http":
            path: bytes = scope.get("raw_path") or b""
            end = path.find(b"/", 1)
            app = self._by_segment.get(path[1:end] if end > 0 else path[1:], self._others)
        await app(scope, receive, send)


def build(
    operations: Operations,
    invoker: Invoker,
    queue: Queue,
    auth: Auth,
    addresses: Addresses,
    others: ASGIApp,
    *,
    site: Site | None = None,
    more: Mapping[bytes, ASGIApp] | None = None,
) -> ASGIApp:
    """Lambda's and FC's API and downloads; `others` answers everything else (the control API).

    site: region and account of ARNs. more: further faces by the first segment of their paths, such as b"v1".
    """
    site = site or Site()
    downloads = Downloads(operations, auth)
    lambda_desk = lambda_call.Desk(
        operations,
        invoker,
        queue,
        LambdaPlace(site.region, site.account),
        addresses.lambda_url,
        downloads.address,
    )
    lambda_face = LambdaFace(lambda_desk, auth)
    fc_desk = fc_call.Desk(
        operations,
        invoker,
        queue,
        FcPlace(site.region, site.account),
        downloads.address,
        addresses.fc_url,
    )
    fc_face = fc.FcFace(fc_desk, auth)
    table: dict[bytes, ASGIApp] = {prefix: lambda_face for prefix in lambda_face.prefixes}
    for prefix in (fc.PREFIX, *fc.OLDER):
        table[prefix.strip(b"/")] = fc_face
    table[PREFIX.strip(b"/")] = downloads
    return Faces({**table, **(more or {})}, others)
