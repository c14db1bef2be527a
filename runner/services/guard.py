"""Who may talk to the control API: nobody whom a browser was tricked into sending.

A page on the internet can make a browser send requests to loopback, directly or after a DNS rebinding.
The first shows in Origin, the second in Host, which then is a name and not an address.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def host_allowed(host: str) -> bool:
    """True when the Host header names an address or localhost, with or without a port."""
    name = _name(host)
    if name is None:
        return False
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def origin_allowed(origin: str | None, host: str) -> bool:
    """True when Origin is absent or is this very server ("null" is nobody)."""
    if origin is None:
        return True
    parts = urlsplit(origin)
    return parts.scheme == "http" and parts.netloc.lower() == host.lower() and not parts.path


def _name(host: str) -> str | None:
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        return name if bracket and (not rest or _is_port(rest)) else None
    name, colon, port = host.partition(":")
    return name.lower() if name and (not colon or _is_port(":" + port)) else None


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isdecimal() and text.isascii()
