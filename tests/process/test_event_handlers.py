"""Handlers of events in real instances: payloads, contexts, results, errors, streams, plain HTTP."""

from __future__ import annotations

import asyncio
import base64
import decimal
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from eventserved import EventGateway

ATTRIBUTES = [
    *("aws_request_id", "function_name", "function_version", "memory_limit_in_mb", "invoked_function_arn"),
    *("log_group_name", "log_stream_name", "tenant_id", "client_context", "identity", "request_id"),
    *("credentials", "function", "service", "region", "account_id", "logger", "tracing", "retry_count"),
    *("log_project", "log_store"),
]


def echo(event: Any, context: Any) -> Any:
    return {"got": event} if not isinstance(event, bytes) else {"raw": event.decode()}


def raising(event: Any, context: Any) -> Any:
    def deeper() -> None:
        raise ValueError("no stock")

    deeper()


def result_of(app: EventGateway, payload: Any, **invocation: Any) -> tuple[dict[str, str], Any]:
    status, headers, body = app.invoke(payload, **invocation).response()
    assert status == 200
    return headers, body


def test_a_handler_gets_json_and_its_result_is_json() -> None:
    with EventGateway(echo) as app:
        headers, body = result_of(app, {"n": [1, None, "é"]})
        assert json.loads(body) == {"got": {"n": [1, None, "é"]}}
        assert headers["content-type"] == "application/json"
        assert headers["x-request-id"] == "r-1" and "x-snapfork-error" not in headers
        client = app.invoke(b"", id="r-2")
        assert json.loads(client.response()[2]) == {"got": {}}
        client = app.invoke({"again": 1}, client, id="r-3")
        status, headers, body = client.response()
        assert (headers["x-request-id"], json.loads(body)) == ("r-3", {"got": {"again": 1}})


def test_a_handler_of_fc_gets_bytes_and_its_bytes_and_text_go_out_as_they_are() -> None:
    def handler(event: bytes, context: Any) -> Any:
        return {b"b": b"\x00\xff", b"s": "téxt", b"d": {"n": 1}, b"n": None}[event]

    with EventGateway(handler, dialect="fc") as app:
        headers, body = result_of(app, b"b")
        assert (headers["content-type"], body) == ("application/octet-stream", b"\x00\xff")
        assert result_of(app, b"s")[1] == "téxt".encode()
        headers, body = result_of(app, b"d")
        assert (headers["content-type"], body) == ("application/json", b'{"n": 1}')
        assert result_of(app, b"n")[1] == b"null"


def test_the_context_has_what_both_platforms_have() -> None:
    def handler(event: Any, context: Any) -> Any:
        left = context.get_remaining_time_in_millis()
        assert all(hasattr(context, name) for name in event["names"])
        return {
            "left": left,
            "ids": [context.aws_request_id, context.request_id],
            "lambda": [
                context.function_name,
                context.function_version,
                context.memory_limit_in_mb,
                context.invoked_function_arn,
                context.log_group_name,
                context.log_stream_name,
                context.identity.cognito_identity_id,
                context.tenant_id,
            ],
            "client": [
                context.client_context.client.app_title,
                context.client_context.custom,
                context.client_context.env,
            ],
            "fc": [
                context.function.name,
                context.function.handler,
                context.function.memory,
                context.function.timeout,
                context.function.version_id,
                context.function.qualifier,
                context.service.qualifier,
                context.region,
                context.account_id,
                context.credentials.access_key_id,
                context.tracing.span_context,
                context.retry_count,
                isinstance(context.logger, logging.Logger),
            ],
        }

    client = {"client": {"app_title": "shop"}, "custom": {"a": 1}, "env": {"locale": "de"}}
    with EventGateway(handler) as app:
        told = json.loads(
            result_of(
                app,
                {"names": ATTRIBUTES},
                deadline_ms=int((time.time() + 20) * 1000),
                qualifier="live",
                attempt=3,
                client_context=base64.b64encode(json.dumps(client).encode()).decode(),
                identity={"cognitoIdentityId": "me"},
            )[1]
        )
    assert 15_000 < told["left"] <= 20_000
    assert told["ids"] == ["r-1", "r-1"]
    name, version, memory, arn, group, stream, identity, tenant = told["lambda"]
    assert (name, version, memory, identity, tenant) == ("shop", "3", "256", "me", None)
    assert arn == "arn:aws:lambda:here:42:function:shop:3" and group == "/aws/lambda/shop"
    assert "/[3]" in stream
    assert told["client"] == ["shop", {"a": 1}, {"locale": "de"}]
    assert told["fc"] == [
        "shop", "index.handler", 256, 30, "3", "live", "live", "here", "42", "", "", 2, True
    ]  # fmt: skip
    assert isinstance(told["fc"][3], int)  # as FC has it; range() takes no 30.0


@pytest.mark.parametrize(
    "client_context", ["!", base64.b64encode(b"[1").decode(), base64.b64encode(b"[]").decode()]
)
def test_a_bad_client_context_is_the_callers_error(client_context: str) -> None:
    with EventGateway(echo) as app:
        headers, body = result_of(app, {}, client_context=client_context)
        assert headers["x-snapfork-error"] == "unhandled"
        assert json.loads(body)["errorType"] == "Runtime.LambdaContextUnmarshalError"


def test_errors_of_lambda() -> None:
    with EventGateway(raising) as app:
        headers, body = result_of(app, {"n": 1})
        told = json.loads(body)
        assert headers["x-snapfork-error"] == "unhandled"
        assert set(told) == {"errorMessage", "errorType", "requestId", "stackTrace"}
        assert (told["errorMessage"], told["errorType"], told["requestId"]) == (
            "no stock",
            "ValueError",
            "r-1",
        )
        assert len(told["stackTrace"]) == 2 and "test_event_handlers.py" in told["stackTrace"][0]
        assert all(isinstance(one, str) and one.endswith("\n") for one in told["stackTrace"])
        lines = app.lines("r-1")
        assert "[ERROR] ValueError: no stock" in lines and "ValueError: no stock" in lines


def test_errors_of_fc() -> None:
    with EventGateway(raising, dialect="fc") as app:
        headers, body = result_of(app, b"x")
        told = json.loads(body)
        assert headers["x-snapfork-error"] == "unhandled"
        assert set(told) == {"errorMessage", "errorType", "stackTrace"}
        file, line, name, source = told["stackTrace"][-1]
        assert file.startswith('File "') and line.startswith("line ") and name == "in deeper"
        assert source == 'raise ValueError("no stock")'


def test_an_error_has_the_form_of_who_called() -> None:
    with EventGateway(raising, dialect="fc") as app:
        assert "requestId" in json.loads(result_of(app, b"x", dialect="lambda")[1])
        assert "requestId" not in json.loads(result_of(app, b"x", dialect="fc")[1])
        assert "requestId" not in json.loads(result_of(app, b"x", dialect="runner")[1])


@pytest.mark.parametrize(
    ("result", "payload", "kind", "says"),
    [
        (object(), b"1", "Runtime.MarshalError", "Unable to marshal response: Object of type object"),
        ({1, 2}, b"1", "Runtime.MarshalError", "set is not JSON serializable"),
        (None, b"{not json", "Runtime.UnmarshalError", "Unable to unmarshal input"),
    ],
)
def test_what_is_no_json_is_the_runtimes_error(result: Any, payload: bytes, kind: str, says: str) -> None:
    with EventGateway(lambda event, context: result) as app:
        headers, body = result_of(app, payload)
        told = json.loads(body)
        assert headers["x-snapfork-error"] == "unhandled"
        assert told["errorType"] == kind and says in told["errorMessage"] and told["stackTrace"] == []


def test_sys_exit_is_an_error_and_the_instance_goes_on() -> None:
    def handler(event: Any, context: Any) -> Any:
        if event:
            raise SystemExit(3)
        return "alive"

    with EventGateway(handler) as app:
        headers, body = result_of(app, {"x": 1})
        told = json.loads(body)
        assert headers["x-snapfork-error"] == "unhandled" and told["errorType"] == "Runtime.ExitError"
        assert "exit status 3" in told["errorMessage"]
        assert result_of(app, {})[1] == b'"alive"'


def test_decimals_are_numbers() -> None:
    values = [decimal.Decimal("1"), decimal.Decimal("1.5")]
    with EventGateway(lambda event, context: values) as app:
        assert result_of(app, {})[1] == b"[1, 1.5]"


def test_async_handlers_share_a_loop() -> None:
    loops: list[Any] = []

    async def handler(event: Any, context: Any) -> Any:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return {"n": event["n"], "loops": len(set(map(id, loops)))}

    with EventGateway(handler) as app:
        for number in range(3):
            assert json.loads(result_of(app, {"n": number})[1]) == {"n": number, "loops": 1}


def test_handlers_among_threads() -> None:
    def handler(event: Any, context: Any) -> Any:
        time.sleep(0.01)
        return context.request_id

    with EventGateway(handler, concurrency=4) as app:
        clients = [app.invoke({}, id=f"r-{number}") for number in range(8)]
        for number, client in enumerate(clients):
            assert client.response()[2] == f'"r-{number}"'.encode()
        assert {one["id"] for one in app.records(8)} == {f"r-{number}" for number in range(8)}


# -- streams -----------------------------------------------------------------------------------------------


def test_pieces_of_a_generator_are_streamed() -> None:
    def handler(event: Any, context: Any) -> Iterator[Any]:
        yield "one "
        yield b"two "
        yield {"three": 3}

    with EventGateway(handler) as app:
        headers, body = result_of(app, {})
        assert headers["transfer-encoding"] == "chunked"
        assert headers["content-type"] == "application/octet-stream"
        assert body == b'one two {"three": 3}'


def test_pieces_arrive_as_they_are_made() -> None:
    async def handler(event: Any, context: Any) -> AsyncIterator[Any]:
        yield "first"
        await asyncio.sleep(600)

    with EventGateway(handler) as app:
        client = app.invoke({})
        assert client.head()[0] == 200
        assert client.until(b"first\r\n") == b"5\r\nfirst\r\n"


PRELUDE = {
    "statusCode": 201,
    "headers": {"X-Mine": "yes", "Content-Type": "text/html"},
    "cookies": ["a=1", "b=2"],
}


def with_prelude(event: Any, context: Any) -> Iterator[Any]:
    yield PRELUDE
    yield "<p>"
    yield "</p>"


def with_body(event: Any, context: Any) -> Any:
    return {**PRELUDE, "body": iter(["<p>", "</p>"])}


@pytest.mark.parametrize("handler", [with_prelude, with_body])
def test_a_streamed_http_answer_has_lambdas_prelude(handler: Any) -> None:
    with EventGateway(handler) as app:
        headers, body = result_of(app, {})
        assert headers["content-type"] == "application/vnd.awslambda.http-integration-response"
        prelude, _, rest = body.partition(bytes(8))
        assert json.loads(prelude) == PRELUDE and rest == b"<p></p>"
        status, headers, body = app.request("GET", "/").response()
        assert (status, headers["x-mine"], headers["content-type"]) == (201, "yes", "text/html")
        assert (headers["transfer-encoding"], body) == ("chunked", b"<p></p>")


def test_a_stream_that_fails_at_once_is_an_error_and_later_it_is_cut() -> None:
    def handler(event: Any, context: Any) -> Iterator[Any]:
        if event["at"] == 0:
            raise ValueError("at once")
        yield "begun"
        raise ValueError("later")

    with EventGateway(handler) as app:
        headers, body = result_of(app, {"at": 0})
        assert headers["x-snapfork-error"] == "unhandled" and json.loads(body)["errorMessage"] == "at once"
        client = app.invoke({"at": 1}, id="r-2")
        assert client.head()[0] == 200 and client.until(b"begun\r\n")
        number = app.number
        back = app.return_of(number)
        app.end(back.id)
        assert client.everything() == b""
        assert app.records(2)[1]["error"] == "unhandled"
        assert any("ValueError: later" in line for line in app.lines("r-2"))


# -- plain HTTP --------------------------------------------------------------------------------------------


def test_a_request_is_the_event_of_a_function_url() -> None:
    with EventGateway(lambda event, context: event) as app:
        headers = (
            "Content-Type: application/json",
            "Cookie: a=1; b=2",
            "X-Two: x",
            "X-Two: y",
            "User-Agent: me",
        )
        status, _, body = app.request("PUT", "/a%20b/%C3%A9?q=1&q=2&e=", b'{"n":1}', headers).response()
        event = json.loads(body)
    assert status == 200
    assert event["version"] == "2.0" and event["routeKey"] == "$default"
    assert (event["rawPath"], event["rawQueryString"]) == ("/a%20b/%C3%A9", "q=1&q=2&e=")
    assert event["queryStringParameters"] == {"q": "1,2", "e": ""}
    assert event["cookies"] == ["a=1", "b=2"] and "cookie" not in event["headers"]
    assert (event["headers"]["x-two"], event["headers"]["host"]) == ("x,y", "shop.localhost")
    assert (event["body"], event["isBase64Encoded"]) == ('{"n":1}', False)
    context = event["requestContext"]
    assert context["http"]["method"] == "PUT" and context["http"]["sourceIp"] == "127.0.0.1"
    assert context["http"]["userAgent"] == "me" and context["domainPrefix"] == "shop"
    assert context["requestId"].startswith("0123abcd-")
    assert isinstance(context["timeEpoch"], int)


def test_a_request_is_the_event_of_fcs_http_trigger() -> None:
    with EventGateway(lambda event, context: event, dialect="fc") as app:
        status, headers, body = app.request("POST", "/a%20b?q=a+b", b"\x00\xff").response()
        event = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/octet-stream")
    assert (event["version"], event["rawPath"]) == ("v1", "/a%20b")
    assert event["queryParameters"] == {"q": "a b"}
    assert (base64.b64decode(event["body"]), event["isBase64Encoded"]) == (b"\x00\xff", True)
    assert event["requestContext"]["http"]["path"] == "/a b"
    assert event["requestContext"]["accountId"] == "42"


@pytest.mark.parametrize("dialect", ["lambda", "fc"])
@pytest.mark.parametrize(
    ("result", "status", "headers", "body"),
    [
        ({"statusCode": 404, "body": "no"}, 404, {"content-type": "application/json"}, b"no"),
        (
            {"statusCode": "201", "headers": {"X-A": "b"}, "body": "AP8=", "isBase64Encoded": True},
            201,
            {"x-a": "b"},
            b"\x00\xff",
        ),
        (
            {"statusCode": 200, "headers": {"Content-Type": "text/html", "Content-Length": "9"}, "body": "é"},
            200,
            {"content-type": "text/html", "content-length": "2"},
            "é".encode(),
        ),
        ({"n": 1}, 200, {"content-type": "application/json"}, b'{"n": 1}'),
        ({"statusCode": 204}, 204, {}, b""),
        ({"statusCode": 200, "body": {"n": 1}}, 200, {}, b'{"n": 1}'),
        ([1], 200, {"content-type": "application/json"}, b"[1]"),
    ],
)
def test_results_as_answers(
    dialect: str, result: Any, status: int, headers: dict[str, str], body: bytes
) -> None:
    with EventGateway(lambda event, context: result, dialect=dialect) as app:
        found = app.request("GET", "/").response()
        assert (found[0], found[2]) == (status, body)
        assert headers.items() <= found[1].items()


def test_text_is_json_on_lambda_and_text_on_fc() -> None:
    with EventGateway(lambda event, context: "hello") as app:
        assert app.request("GET", "/").response()[2] == b'"hello"'
    with EventGateway(lambda event, context: "hello", dialect="fc") as app:
        status, headers, body = app.request("GET", "/").response()
        assert (headers["content-type"], body) == ("text/plain; charset=utf-8", b"hello")
    with EventGateway(lambda event, context: '{"statusCode": 201, "body": "x"}', dialect="fc") as app:
        assert app.request("GET", "/").response()[::2] == (201, b"x")


def test_cookies_and_repeated_headers_of_a_result() -> None:
    result = {
        "statusCode": 200,
        "cookies": ["a=1", "b=2"],
        "multiValueHeaders": {"Vary": ["x", "y"]},
        "body": "",
    }
    with EventGateway(lambda event, context: result) as app:
        client = app.request("GET", "/")
        head = client.until(b"\r\n\r\n").decode()
        assert head.count("Set-Cookie: ") == 2 and "Vary: x\r\n" in head and "Vary: y\r\n" in head


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "abc"},
        {"statusCode": 99},
        {"statusCode": None},
        {"statusCode": 200, "headers": [1]},
        {"statusCode": 200, "headers": {"X-A": "b\r\nX-C: d"}},
        {"statusCode": 200, "headers": {"X A": "b"}},
        {"statusCode": 200, "body": "!", "isBase64Encoded": True},
        object(),
    ],
)
def test_a_result_that_is_no_answer_is_a_bad_gateway(result: Any) -> None:
    with EventGateway(lambda event, context: result) as app:
        status, headers, body = app.request("GET", "/").response()
        assert (status, body) == (502, b"Internal Server Error")
        assert "x-snapfork-error" not in headers and "x-c" not in headers
        assert app.records()[0]["error"] == "unhandled"


def test_errors_over_http_keep_the_inside_from_strangers() -> None:
    with EventGateway(raising) as app:
        status, headers, body = app.request("GET", "/").response()
        assert (status, body) == (502, b"Internal Server Error")
    with EventGateway(raising, dialect="fc") as app:
        status, headers, body = app.request("GET", "/").response()
        assert (status, headers["x-fc-error-type"]) == (502, "UnhandledInvocationError")
        assert json.loads(body)["errorMessage"] == "no stock"


def test_of_a_deployed_function_nobody_makes_his_own_event() -> None:
    told = '{"id": "mine", "kind": "event"}'
    with EventGateway(lambda event, context: {"event": event, "id": context.request_id}) as app:
        headers = (f"X-Snapfork-Invocation: {told}", "X-Snapfork-Unit: other:1", "X-Snapfork-Other: 1")
        status, found, body = app.request("POST", "/invoke", b'{"n": 1}', headers).response()
        event = json.loads(body)["event"]
        assert event["rawPath"] == "/invoke" and json.loads(body)["id"] != "mine"
        assert not any(name.startswith("x-snapfork") for name in event["headers"])
        assert "x-snapfork-run" not in found


def test_a_handler_of_runner_serve_takes_events_from_anyone() -> None:
    with EventGateway(echo, dialect="runner", record=False) as app:
        status, _, body = app.request("POST", "/invoke", b'{"n": 1}').response()
        assert (status, json.loads(body)) == (200, {"got": {"n": 1}})
        assert "rawPath" in json.loads(app.request("GET", "/x").response()[2])["got"]
        assert app.lines("r-1") == [] and not any(unit.stream == "record" for unit in app.said())
    with EventGateway(raising, dialect="runner", record=False) as app:
        status, _, body = app.request("POST", "/invoke", b"{}").response()
        assert (status, json.loads(body)["errorMessage"]) == (502, "no stock")


def test_an_invocation_of_kind_http_is_a_request() -> None:
    with EventGateway(lambda event, context: event) as app:
        client = app.request("GET", "/x", invocation={"kind": "http", "trigger": "http"})
        event = json.loads(client.response()[2])
        assert (event["rawPath"], event["requestContext"]["requestId"]) == ("/x", "r-1")
