"""The event of FC's HTTP trigger (built-in runtimes, "version": "v1"), in a class like Mangum's.

Format: {version: "v1", rawPath (encoded), body, isBase64Encoded, headers {name: "v1,v2"}, queryParameters,
requestContext {http {method, path (decoded), protocol, sourceIp, userAgent}, domainName, requestId, ...}};
the answer is {statusCode, headers, body, isBase64Encoded}.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote, unquote, urlencode


class FcHttp:
    """One such event; see Mangum's `LambdaHandler`."""

    def __init__(self, event: dict[str, Any], context: Any, config: Any) -> None:
        self.event = event
        self.context = context
        self.config = config

    @classmethod
    def infer(cls, event: Any, context: Any, config: Any) -> bool:
        """Whether `event` is one."""
        if not isinstance(event, dict) or event.get("version") != "v1":
            return False
        inside = event.get("requestContext")
        return isinstance(inside, dict) and isinstance(inside.get("http"), dict)

    @property
    def body(self) -> bytes:
        """The request's body."""
        body = self.event.get("body") or b""
        if self.event.get("isBase64Encoded"):
            return base64.b64decode(body)
        return body if isinstance(body, bytes) else str(body).encode()

    @property
    def scope(self) -> dict[str, Any]:
        """The request as an ASGI scope."""
        http = self.event["requestContext"]["http"]
        headers = {str(k).lower(): str(v) for k, v in (self.event.get("headers") or {}).items()}
        raw_path = self.event.get("rawPath") or quote(http.get("path") or "/")
        host, _, port = (
            headers.get("host") or self.event["requestContext"].get("domainName") or ""
        ).partition(":")
        return {
            "type": "http",
            "method": http["method"],
            "http_version": "1.1",
            "headers": [[name.encode(), value.encode()] for name, value in headers.items()],
            "path": unquote(raw_path),
            "raw_path": raw_path.encode("ascii"),
            "root_path": "",
            "scheme": headers.get("x-forwarded-proto", "https"),
            "query_string": urlencode(self.event.get("queryParameters") or {}, doseq=True).encode(),
            "server": (host or "localhost", int(port) if port else 80),
            "client": (http.get("sourceIp") or "", 0),
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "fc.event": self.event,
            "fc.context": self.context,
        }

    def __call__(self, response: dict[str, Any]) -> dict[str, Any]:
        """The answer in FC's form; repeated headers are joined, cookies, which cannot be, are a list."""
        headers: dict[str, Any] = {}
        cookies = []
        for raw_name, raw_value in response["headers"]:
            name, value = raw_name.decode().lower(), raw_value.decode()
            if name == "set-cookie":
                cookies.append(value)
            else:
                headers[name] = f"{headers[name]},{value}" if name in headers else value
        if cookies:
            headers["set-cookie"] = cookies[0] if len(cookies) == 1 else cookies
        body, encoded = encode_body(response["body"], headers.get("content-type", ""))
        return {
            "statusCode": response["status"],
            "headers": headers,
            "body": body,
            "isBase64Encoded": encoded,
        }


TEXT = (
    "text/",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/vnd.api+json",
    "application/vnd.oai.openapi",
)
"""Media types whose bodies travel as text; those that Mangum has."""


def encode_body(body: bytes, content_type: str) -> tuple[str, bool]:
    """`body` for an event or answer: as text where it is text, else base64; and which it is."""
    if not body:
        return "", False
    if any(known in content_type for known in TEXT):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True
