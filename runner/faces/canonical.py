"""The canonical form of a request, which both signature schemes hash."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from snapfork.runner.faces.exchange import Head

_PLAIN_PATH = re.compile(rb"[A-Za-z0-9/_.~-]*")


def canonical_request(head: Head, path: str, query: str, names: list[str], squeeze: bool = True) -> str:
    """The canonical request up to, not including, the body's hash. squeeze: runs of spaces inside a header
    become one (SigV4)."""
    values: dict[str, list[str]] = {name: [] for name in names}
    for raw, value in head.headers:
        name = raw.decode("latin-1")
        if name in values:
            text = value.decode("latin-1")
            values[name].append(" ".join(text.split()) if squeeze else text.strip())
    block = "".join(f"{name}:{','.join(values[name])}\n" for name in names)
    return f"{head.method}\n{path or '/'}\n{query}\n{block}\n{';'.join(names)}\n"


def encoded_twice(path: bytes) -> str:
    """SigV4's canonical path: as it was sent, encoded once more.

    The services resolve dot segments and empty ones first. Here they are part of what is signed: else /a/../b
    would go through with the signature of /b, and a function would see another path than was signed.
    """
    if _PLAIN_PATH.fullmatch(path):
        return path.decode("ascii")
    return quote(path, safe="/~")


def canonical_query(query: bytes) -> str:
    """Decoded, encoded by RFC 3986, sorted; a plus on the wire is a space, as both SDKs send it."""
    if not query:
        return ""
    pairs: list[tuple[str, str]] = []
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            pairs.append((_again(name), _again(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _again(text: bytes) -> str:
    return quote(unquote_to_bytes(text.replace(b"+", b" ")), safe="-_.~")
