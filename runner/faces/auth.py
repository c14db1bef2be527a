"""Who sent a request and what they may do; both faces ask here before they read or change anything.

Nothing is read of a stranger's body: key, date and form are judged on the head, the signature when the body
is there. `keys` None is `--control-auth none`: everybody who reaches the listener may do everything, which is
why the listener then must be on loopback.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from snapfork.runner.faces.exchange import Head
from snapfork.runner.faces.replay import Replays
from snapfork.runner.faces.signing import SKEW, Claim, KeySource, SignatureError, open_claim
from snapfork.runner.invocations import targets
from snapfork.runner.registry.errors import Denied
from snapfork.runner.registry.model import Key
from snapfork.runner.services import guard

__all__ = ["Auth", "Refused", "SignatureError"]
Action = Literal["manage", "invoke"]
EVERYBODY = Key("", "")
"""Who calls when nobody is asked for a signature."""
LARGE = 1 << 20
"""Bytes of a body that is hashed beside the event loop."""
_host_allowed = lru_cache(maxsize=64)(guard.host_allowed)  # a client has one


class Refused(Exception):
    """A web page of somebody else sent this request; `code` is "host_refused" or "origin_refused"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Auth:
    """Keys, clock and the signatures seen. Make it before the listener is opened: see `Replays`."""

    def __init__(self, keys: KeySource | None, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock
        self._replays = Replays(SKEW, clock())

    @property
    def needed(self) -> bool:
        """Whether requests must be signed."""
        return self._keys is not None

    def now(self) -> float:
        return self._clock()

    def open(self, head: Head) -> Claim | None:
        """Judge a request by its head: Host, Origin, key, date. Raises Refused, SignatureError."""
        host = head.text(b"host")
        if not _host_allowed(host):
            raise Refused("host_refused", "Host must be an address or localhost.")
        origin = head.get(b"origin")
        if not guard.origin_allowed(None if origin is None else origin.decode("latin-1"), host):
            raise Refused("origin_refused", "Requests from other origins are refused.")
        return None if self._keys is None else open_claim(head, self._keys, self._clock())

    def close(self, claim: Claim | None, body: bytes, reusable: bool = False) -> Key:
        """The key of the request, now that its body is there. Raises SignatureError.

        reusable: the same signature is good for many uses: a presigned URL to download with.
        """
        if claim is None:
            return EVERYBODY
        return self._proved(claim, sha256(body).hexdigest(), reusable)

    async def close_large(self, claim: Claim | None, body: bytes) -> Key:
        """As `close`, for bodies that may be large: the loop goes on while they are hashed."""
        if claim is None or len(body) < LARGE:
            return self.close(claim, body)
        return self._proved(claim, (await asyncio.to_thread(sha256, body)).hexdigest(), False)

    def _proved(self, claim: Claim, digest: str, reusable: bool) -> Key:
        return claim.verify(digest, self._clock(), None if reusable and claim.lifetime else self._replays)

    def judge(self, head: Head, body_sha256: str) -> Key:
        """The key that signed a request to a function URL or route; the host is the function's own.

        GET, HEAD and OPTIONS may come again: clients of function URLs sign no nonce, and equal requests of
        one second are equal signatures. Raises SignatureError.
        """
        if self._keys is None:
            return EVERYBODY
        now = self._clock()
        claim = open_claim(head, self._keys, now)
        safe = head.method in ("GET", "HEAD", "OPTIONS")
        return claim.verify(body_sha256, now, None if safe else self._replays)


def permit(key: Key, action: Action, function: str | None) -> None:
    """Raise Denied unless `key` may do this to `function` (None: to no function in particular)."""
    if key.role != "manage" and action != "invoke":
        raise Denied(f"Key {key.id} may only invoke functions.", "key", key.id)
    if key.functions is not None and (function is None or function not in key.functions):
        what = f"function {function}" if function else "more than single functions"
        raise Denied(f"Key {key.id} is limited to some functions and may not reach {what}.", "key", key.id)


def permit_watching(key: Key) -> None:
    """Raise Denied unless `key` may name a directory to be watched: it is read with the runner's rights,
    which may be root's, and not with the functions'."""
    if key.functions is not None:
        raise Denied(
            f"Key {key.id} is limited to some functions and may not have directories watched: use a key that "
            "manages all functions.",
            *("key", key.id),
        )


def permit_destination(key: Key, address: str) -> None:
    """Raise Denied unless `key` may call the function that results would go to; Invalid for an address that
    none could ever go to."""
    target = targets.parse(address)
    if target.kind == "function":
        permit(key, "invoke", target.name)
