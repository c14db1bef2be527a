"""One reading of a request head, shared by gateway and instances, so that both route by the same words.

Tokenising is llhttp's; what llhttp lets pass and proxies disagree about (RFC 9112, sections 2.2, 3.2, 5 and
6.3) is refused here.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import httptools
from snapfork.runner.units import ERROR_HEADER, INVOCATION_HEADER, RUN_HEADER, UNIT_HEADER

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/(\d)\.(\d)\r\n")
_LINES = re.compile(rb"(?:[^\0-\x20:]++:[^\0\r\n]*+\r\n)*+\r\n")
"""Every line is a name without blanks, a colon and a value: no line break but CRLF, no NUL, no folded line.
One expression that never goes back takes half the time of searches for what must not be there, or less."""
_PLAIN = re.compile(
    rb"(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*+) HTTP/1\.([01])\r\n"
    rb"((?:(?![Tt][Rr][Aa][Nn])[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e]*+\r\n)*+)\r\n"
)
"""What nearly all heads are like, without Transfer-Encoding. In these nothing is left to tokenise but lines,
names and values, which is done sooner than a way through llhttp and back."""
_AUTHORITY = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://([^/?#]*)")
_FRAMING = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"))
OWN = b"x-snapfork-"
_OWN = frozenset((UNIT_HEADER, INVOCATION_HEADER, ERROR_HEADER, RUN_HEADER))
_READ = _FRAMING | _OWN
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=\-]*)(?::\d*)?")


class BadHead(Exception):
    """The head cannot be served: `status` is 400, 501 or 505, `message` one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = {400: "bad_request", 501: "not_implemented", 505: "version_not_supported"}[status]
        self.message = message


def find_end(data: bytes | bytearray, start: int = 0) -> int:
    """Index just after the blank line that ends a head, or -1; `start` says where to look from.

    A blank line made of bare LFs counts too: `parse_head` refuses such a head, instead of waiting for more.
    """
    at = data.find(b"\r\n\r\n", start)
    if at >= 0:
        return at + 4
    at = data.find(b"\n\n", start)
    if at >= 0:
        return at + 2
    at = data.find(b"\n\r\n", start)
    return at + 3 if at >= 0 else -1


class Head:
    """A request head, read.

    raw_path and query are bytes of the target (ASCII); path is raw_path percent-decoded, each byte one
    latin-1 character (as PEP 3333 has it). Header names are lower-case and in order. host is lower-case and
    without a port, "" if there is none. size counts the bytes of the head with its blank line. reserved: it
    has headers by which parts of the runner speak to each other, which no app gets.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "expect",
        "headers",
        "host",
        "keep_alive",
        "method",
        "path",
        "query",
        "raw_path",
        "reserved",
        "size",
        "target",
        "upgrade",
        "version",
    )

    method: str
    target: bytes
    raw_path: bytes
    query: bytes
    path: str
    version: tuple[int, int]
    headers: list[tuple[bytes, bytes]]
    host: str
    content_length: int | None
    chunked: bool
    expect: bool
    upgrade: bool
    keep_alive: bool
    reserved: bool
    size: int

    def find(self, name: bytes) -> bytes | None:
        """The value of the only header called `name` (lower-case); None without one, or with several."""
        values = [value for one, value in self.headers if one == name]
        return values[0] if len(values) == 1 else None

    def for_app(self) -> list[tuple[bytes, bytes]]:
        """The headers without the reserved ones."""
        if not self.reserved:
            return self.headers
        return [one for one in self.headers if one[0] not in _OWN]

    def body_known(self) -> bool:
        """True when the length of the body is known in advance (no body counts)."""
        return not self.chunked


class _Tokens:
    """Callbacks of the tokeniser: the target and the headers."""

    __slots__ = ("headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))


def parse_head(data: bytes) -> Head:
    """Read `data`, which is exactly one head. Raises BadHead."""
    head = Head()
    plain = _PLAIN.fullmatch(data)
    if plain is not None:
        word, head.target, minor, lines = plain.groups()
        head.headers = headers = []
        for line in lines.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon:
                headers.append((name.lower(), value.strip(b" \t")))
    else:
        word, head.target, minor, head.headers = _tokenise(data)
    head.method = word.decode("ascii")
    head.version = (1, 1) if minor == b"1" else (1, 0)
    head.size = len(data)
    _read_headers(head)
    _read_target(head)
    return head


def _tokenise(data: bytes) -> tuple[bytes, bytes, bytes, list[tuple[bytes, bytes]]]:
    """Method, target, minor version and headers of any head."""
    line = _REQUEST_LINE.match(data)
    if line is None:
        raise BadHead(400, "the request line is malformed")
    word, target, major, minor = line.groups()
    if major != b"1" or minor not in b"01":
        raise BadHead(505, f"HTTP/{int(major)}.{int(minor)} is not spoken here; HTTP/1.1 is")
    if _LINES.fullmatch(data, line.end()) is None:
        raise BadHead(400, "a line of the head is malformed")
    if word == b"CONNECT":
        raise BadHead(501, "CONNECT is not served here")
    tokens = _Tokens()
    parser = httptools.HttpRequestParser(tokens)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # what follows the head is not given to this parser
    except httptools.HttpParserError as error:
        raise BadHead(400, f"the head is malformed ({error})") from None
    return word, target, minor, tokens.headers


def _read_headers(head: Head) -> None:
    head.content_length = None
    head.chunked = head.expect = head.upgrade = head.reserved = False
    head.keep_alive = head.version == (1, 1)
    head.host = ""
    hosts = 0
    for name, value in head.headers:
        if name not in _READ:
            continue
        if name == b"host":
            hosts += 1
            head.host = _host(value)
        elif name == b"content-length":
            if head.content_length is not None or not value.isdigit() or len(value) > 18:
                raise BadHead(400, "Content-Length must be one number")
            head.content_length = int(value)
        elif name == b"transfer-encoding":
            _read_coding(head, value)
        elif name == b"connection":
            _read_connection(head, value)
        elif name == b"expect":
            head.expect = value.lower() == b"100-continue" and head.version == (1, 1)
        else:
            head.reserved = True
    if head.chunked and head.content_length is not None:
        raise BadHead(400, "Transfer-Encoding and Content-Length together are ambiguous")
    if hosts > 1:
        raise BadHead(400, "more than one Host header")
    if hosts == 0 and head.version == (1, 1):
        raise BadHead(400, "HTTP/1.1 needs a Host header")
    head.upgrade = head.upgrade and any(name == b"upgrade" for name, _ in head.headers)


def _read_coding(head: Head, value: bytes) -> None:
    if head.version == (1, 0):
        raise BadHead(400, "Transfer-Encoding does not exist in HTTP/1.0")
    if head.chunked:
        raise BadHead(400, "Transfer-Encoding is given twice")
    if value.strip().lower() != b"chunked":
        raise BadHead(501, "the only transfer coding served here is chunked")
    head.chunked = True


def _read_connection(head: Head, value: bytes) -> None:
    for token in value.lower().split(b","):
        word = token.strip()
        if word == b"close":
            head.keep_alive = False
        elif word == b"keep-alive" and head.version == (1, 0):
            head.keep_alive = True
        elif word == b"upgrade":
            head.upgrade = True


def _host(value: bytes) -> str:
    match = _HOST.fullmatch(value)
    if match is None:
        raise BadHead(400, "the Host header is malformed")
    return match[1].decode("ascii").lower()


def _read_target(head: Head) -> None:
    target = head.target
    if target[:1] != b"/":
        absolute = _AUTHORITY.match(target)
        if absolute is not None:
            # RFC 9112, 3.2.2: the authority of an absolute target wins over the Host header.
            authority = absolute[1].rpartition(b"@")[2]
            head.host = _host(authority)
            head.headers = [(b"host", authority), *(one for one in head.headers if one[0] != b"host")]
            target = target[absolute.end() :]
            if target[:1] != b"/":
                target = b"/" + target
        elif target == b"*" and head.method == "OPTIONS":
            pass
        else:
            raise BadHead(400, "the request target is malformed")
    target = target.partition(b"#")[0]
    head.raw_path, _, head.query = target.partition(b"?")
    raw = head.raw_path
    head.path = (unquote_to_bytes(raw) if b"%" in raw else raw).decode("latin-1")
