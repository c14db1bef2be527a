"""Signed routes: whether a request that the gateway holds was signed, by a key that may."""

from __future__ import annotations

from typing import Any

from snapfork.runner.faces.auth import Auth, permit
from snapfork.runner.faces.exchange import Head
from snapfork.runner.faces.signing import EMPTY, SignatureError
from snapfork.runner.registry.errors import OperationError
from snapfork.runner.registry.operations import Operations
from snapfork.runner.services.link import GatewayLink


class Judge:
    """Answers the gateway's events "authorize"."""

    def __init__(self, link: GatewayLink, operations: Operations, auth: Auth) -> None:
        self._link = link
        self._operations = operations
        self._auth = auth
        link.subscribe("authorize", self.hear)

    def hear(self, event: dict[str, Any]) -> None:
        """Judge one request and say so."""
        status, code, message = self._verdict(event)
        self._link.judged(event["id"], not status, status, code, message)

    def _verdict(self, event: dict[str, Any]) -> tuple[int, str, str]:
        """(0, "", "") for a good one, else status, code and sentence."""
        path = str(event["path"])
        owner = self._operations.http_owner(str(event["host"]), path.partition("?")[0], str(event["method"]))
        if owner is not None and owner.closed:
            return 403, "access_denied", "This address is closed (disableURLInternet)."
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in event["headers"]
        ]
        head = Head(
            str(event["method"]), path.encode("latin-1"), str(event["query"]).encode("latin-1"), headers
        )
        digest = event["body_sha256"]
        if digest is None:
            # The body is not here as a whole: what the signature says of it cannot be held to it, and the
            # gateway would have to keep it all. Signed uploads are small, or go through the API.
            return 413, "body_too_large", "The body of a signed request is at most 128 KB, of known length."
        try:
            key = self._auth.judge(head, str(digest) or EMPTY)
            permit(key, "invoke", str(event["function"]))
        except SignatureError as error:
            return 403, f"signature_{error.code}", error.message
        except OperationError as error:
            return 403, "access_denied", error.message
        return 0, "", ""
