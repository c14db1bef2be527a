"""An HTTP request as the event that a handler gets, and what it returns as the answer.

Lambda: the event of a function URL (payload format 2.0). FC: that of an HTTP trigger ("v1"). Requests come as
WSGI's environ, in which repeated headers are one already.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote

from snapfork.adapter.events.fc_http import encode_body
from snapfork.adapter.events.requests import HOP
from snapfork.adapter.events.results import Fault, to_json

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Answer:
    """What goes back over HTTP. `body` is bytes, or an iterator of a body that is made as it is sent."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[str, str]], body: Any) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def event_of(environ: Mapping[str, Any], body: bytes, dialect: str, context: Any) -> Any:
    """The event for a request: a dict for Lambda's handlers, JSON in bytes for FC's."""
    if dialect == "fc":
        return json.dumps(_trigger_event(environ, body, context)).encode()
    return _url_event(environ, body, context)


def _url_event(environ: Mapping[str, Any], body: bytes, context: Any) -> dict[str, Any]:
    headers = _headers(environ)
    cookies = headers.pop("cookie", "")
    path, query, now = _raw_path(environ), environ.get("QUERY_STRING", ""), time.time()
    host = headers.get("host") or environ.get("SERVER_NAME") or "localhost"
    domain = host.rpartition(":")[0] or host if not host.endswith("]") else host
    identity = domain.partition(".")[0]
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": identity,
            "domainName": domain,
            "domainPrefix": identity,
            "http": _http(environ, path, headers),
            "requestId": context.aws_request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
    }
    if cookies:
        event["cookies"] = [one.strip() for one in cookies.split(";") if one.strip()]
    if query:
        event["queryStringParameters"] = _joined(query)
    event["isBase64Encoded"] = False
    if body:
        event["body"], event["isBase64Encoded"] = encode_body(body, headers.get("content-type", ""))
    return event


def _trigger_event(environ: Mapping[str, Any], body: bytes, context: Any) -> dict[str, Any]:
    headers = _headers(environ)
    now = time.time()
    host = headers.get("host") or environ.get("SERVER_NAME") or "localhost"
    text, encoded = encode_body(body, headers.get("content-type", ""))
    path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace") or "/"
    return {
        "version": "v1",
        "rawPath": _raw_path(environ),
        "body": text,
        "isBase64Encoded": encoded,
        "headers": headers,
        "queryParameters": _joined(environ.get("QUERY_STRING", "")),
        "requestContext": {
            "accountId": context.account_id,
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": _http(environ, path, headers),
            "requestId": context.request_id,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
            "timeEpoch": str(int(now * 1000)),
        },
    }


def _http(environ: Mapping[str, Any], path: str, headers: Mapping[str, str]) -> dict[str, str]:
    return {
        "method": environ["REQUEST_METHOD"],
        "path": path,
        "protocol": environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
        "sourceIp": environ.get("REMOTE_ADDR", ""),
        "userAgent": headers.get("user-agent", ""),
    }


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:]
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            name = key
        else:
            continue
        found[name.replace("_", "-").lower()] = value.encode("latin-1").decode("utf-8", "replace")
    scheme = environ.get("wsgi.url_scheme", "http")
    found.setdefault("x-forwarded-proto", scheme)
    found.setdefault("x-forwarded-port", environ.get("SERVER_PORT") or "80")
    if environ.get("REMOTE_ADDR"):
        found.setdefault("x-forwarded-for", environ["REMOTE_ADDR"])
    return found


def _raw_path(environ: Mapping[str, Any]) -> str:
    """The path as it was sent, without the mount's prefix."""
    raw = str(environ.get("RAW_URI") or "").partition("?")[0].partition("#")[0]
    prefix = environ.get("SCRIPT_NAME", "")
    if raw.startswith("/") and not prefix:
        return raw
    if prefix and raw.startswith(prefix):
        return raw[len(prefix) :] or "/"
    return quote(environ.get("PATH_INFO", "").encode("latin-1"), safe="/:@!$&'()*+,;=~-._") or "/"


def _joined(query: str) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


# -- results -----------------------------------------------------------------------------------------------


def answer_of(result: Any, dialect: str) -> Answer:
    """What a handler returned, as an answer. Raises Fault for what cannot be one."""
    found = _struct(result, dialect)
    if found is not None:
        return _from_struct(found)
    if dialect == "fc":
        if isinstance(result, (bytes, bytearray)):
            return Answer(200, [("Content-Type", "application/octet-stream")], bytes(result))
        if isinstance(result, str):
            return Answer(200, [("Content-Type", "text/plain; charset=utf-8")], result.encode())
    return Answer(200, [("Content-Type", "application/json")], to_json(_text(result)))


def _struct(result: Any, dialect: str) -> Mapping[str, Any] | None:
    if dialect == "fc" and isinstance(result, (str, bytes)):
        try:
            result = json.loads(result)
        except (ValueError, RecursionError):
            return None
    return result if isinstance(result, Mapping) and "statusCode" in result else None


def _text(result: Any) -> Any:
    return result.decode("utf-8", "replace") if isinstance(result, (bytes, bytearray)) else result


def _from_struct(found: Mapping[str, Any]) -> Answer:
    """{statusCode, headers, multiValueHeaders, cookies, body, isBase64Encoded}."""
    try:
        status = int(found["statusCode"])
    except (TypeError, ValueError):
        status = 0
    if not 200 <= status <= 599:
        raise Fault("Runtime.BadResponse", f"{found['statusCode']!r} is no status of an HTTP answer")
    headers = read_headers(found)
    body = found.get("body")
    if hasattr(body, "__next__") or hasattr(body, "__anext__"):
        return Answer(status, headers, body)
    return Answer(status, headers, _body(body, bool(found.get("isBase64Encoded"))))


def read_headers(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers of an answer's `headers`, `multiValueHeaders` and `cookies`. Raises Fault."""
    several = found.get("multiValueHeaders") or {}
    headers: list[tuple[str, str]] = []
    for table in (several, found.get("headers") or {}):
        if not isinstance(table, Mapping):
            raise Fault("Runtime.BadResponse", "headers are a table of names and texts")
        for name, value in table.items():
            if table is several or name not in several:
                headers += [(str(name), one) for one in (value if isinstance(value, list) else [value])]
    headers += [("Set-Cookie", one) for one in found.get("cookies") or ()]
    headers = [(name, str(value).encode().decode("latin-1")) for name, value in headers]
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or _BAD_VALUE.search(value):
            raise Fault("Runtime.BadResponse", f"{name!r} is no header of an HTTP answer")
    headers = [one for one in headers if one[0].lower().encode() not in HOP]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return headers


def _body(body: Any, encoded: bool) -> bytes:
    if body is None:
        return b""
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    if not isinstance(body, str):
        return to_json(body)
    if encoded:
        import base64

        try:
            return base64.b64decode("".join(body.split()), validate=True)
        except ValueError as error:
            raise Fault("Runtime.BadResponse", f"the body is not base64: {error}") from None
    return body.encode("utf-8", "surrogatepass")
