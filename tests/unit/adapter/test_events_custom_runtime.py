"""A handler under another server, as FC's custom runtime talks to it."""

from __future__ import annotations

import io
import json
from typing import Any

from snapfork.adapter.events import EventApp

HEADERS = {
    "HTTP_X_FC_REQUEST_ID": "1-64f8-abc",
    "HTTP_X_FC_FUNCTION_NAME": "shop",
    "HTTP_X_FC_FUNCTION_HANDLER": "index.handler",
    "HTTP_X_FC_FUNCTION_MEMORY": "512",
    "HTTP_X_FC_REGION": "cn-hangzhou",
    "HTTP_X_FC_ACCOUNT_ID": "42",
    "HTTP_X_FC_QUALIFIER": "LATEST",
    "HTTP_X_FC_VERSION_ID": "3",
    "HTTP_X_FC_SERVICE_LOGPROJECT": "project",
    "HTTP_X_FC_SERVICE_LOGSTORE": "store",
}


def call(
    app: Any, method: str, path: str, body: bytes = b"", **extra: str
) -> tuple[str, dict[str, str], bytes]:
    begun: list[Any] = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "9000",
        "REMOTE_ADDR": "192.0.2.7",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body + b"of the next request"),
        **extra,
    }
    pieces = b"".join(app(environ, lambda *args: begun.append(args)))
    return begun[0][0], {name.lower(): value for name, value in begun[0][1]}, pieces


def told(event: Any, context: Any) -> Any:
    function = context.function
    return {
        "event": event.decode(),
        "ids": [
            context.request_id,
            context.region,
            context.account_id,
            context.log_project,
            context.log_store,
        ],
        "function": [
            function.name,
            function.handler,
            function.memory,
            function.version_id,
            function.qualifier,
        ],
    }


def test_an_event_call() -> None:
    status, headers, body = call(EventApp(told), "POST", "/invoke", b"payload", **HEADERS)
    assert (status, headers["content-type"]) == ("200 OK", "application/json")
    assert json.loads(body) == {
        "event": "payload",
        "ids": ["1-64f8-abc", "cn-hangzhou", "42", "project", "store"],
        "function": ["shop", "index.handler", "512", "3", "LATEST"],
    }


def test_a_failure_says_so_as_fc_wants_it(capsys: Any) -> None:
    def handler(event: Any, context: Any) -> Any:
        raise ValueError("no stock")

    status, headers, body = call(EventApp(handler), "POST", "/invoke", b"", **HEADERS)
    assert (status, headers["x-fc-status"]) == ("404 Not Found", "404")
    assert json.loads(body)["errorType"] == "ValueError" and "x-snapfork-error" not in headers
    assert "no stock" in capsys.readouterr().out


def test_its_hooks() -> None:
    ran: list[Any] = []

    async def stop(context: Any) -> None:
        ran.append(("stop", context.function_name))

    def fails(context: Any) -> None:
        raise ValueError("no database")

    app = EventApp(told, initializer=lambda context: ran.append(("start", context.request_id)), pre_stop=stop)
    assert call(app, "POST", "/initialize", **HEADERS)[0] == "200 OK"
    assert call(app, "GET", "/pre-stop", **HEADERS)[0] == "200 OK"
    assert ran == [("start", "1-64f8-abc"), ("stop", "shop")]
    status, _, body = call(EventApp(told, initializer=fails), "POST", "/initialize", **HEADERS)
    assert status == "500 Internal Server Error" and json.loads(body)["errorMessage"] == "no database"


def test_any_other_request_is_an_http_trigger_event() -> None:
    def handler(event: bytes, context: Any) -> Any:
        return {"statusCode": 201, "body": json.loads(event)["rawPath"]}

    status, _, body = call(EventApp(handler), "GET", "/a b", **HEADERS)
    assert (status, body) == ("201 Created", b"/a%20b")


def test_without_fc_it_is_a_handler_of_lambda() -> None:
    status, _, body = call(EventApp(lambda event, context: event), "POST", "/invoke", b'{"n": 1}')
    assert (status, json.loads(body)) == ("200 OK", {"n": 1})
    closed = EventApp(lambda event, context: event["rawPath"], is_open=False)
    assert call(closed, "POST", "/invoke", b'{"n": 1}')[2] == b'"/invoke"'
