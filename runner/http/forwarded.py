"""X-Forwarded-*: believed only from trusted peers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Headers = Iterable[tuple[bytes, bytes]]


class Trusted:
    """The peers whose word about a client counts: addresses, networks, "unix", or "*" for everybody."""

    def __init__(self, entries: Iterable[str]) -> None:
        entries = list(entries)
        self._all = "*" in entries
        self._unix = self._all or "unix" in entries
        self._networks = [
            ipaddress.ip_network(entry, strict=False) for entry in entries if entry not in ("*", "unix")
        ]
        self._known = lru_cache(maxsize=256)(self._contains)

    def peer(self, address: str | None) -> bool:
        """True when the peer at `address` (None: over a Unix socket) is trusted."""
        if address is None:
            return self._unix
        return self._all or self._known(address)

    def _contains(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network or parsed in network for network in self._networks)

    def client_and_scheme(self, headers: Headers, peer: str | None) -> tuple[str | None, str | None]:
        """What a trusted peer says: the client's address and the scheme; None where it says nothing.

        The client is the rightmost address of X-Forwarded-For that is not itself a trusted proxy.
        """
        if not self.peer(peer):
            return None, None
        chain: list[str] = []
        scheme: str | None = None
        for name, value in headers:
            if name == b"x-forwarded-for":
                chain += [part.strip() for part in value.decode("latin-1").split(",") if part.strip()]
            elif name == b"x-forwarded-proto":
                word = value.decode("latin-1").rpartition(",")[2].strip().lower()
                scheme = word if word in ("http", "https", "ws", "wss") else scheme
        client = None
        for address in reversed(chain):
            client = address
            if self._all or not self._known(address):
                break
        if self._all and chain:
            client = chain[0]
        return client, scheme
