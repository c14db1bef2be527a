"""The invoker over a direct listener: what is sent to instances, and what becomes of every kind of answer."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from directserver import Asked, DirectServer, Reply
from invoking import Clock, Registry, invocation
from snapfork.runner.http.answers import error_response
from snapfork.runner.invocations.direct import DirectClient
from snapfork.runner.invocations.invoker import Invoker
from snapfork.runner.registry.errors import Conflict, Disabled, NotFound, Throttled, TooLarge
from snapfork.runner.services.link import GatewayError, GatewayTimeout


class Gateway:
    """Says what a unit is; counts how often it was asked."""

    def __init__(self, interface: str = "event", error: Exception | None = None) -> None:
        self.interface = interface
        self.error = error
        self.asked: list[str] = []

    async def wait(self, unit: str, timeout: float) -> Mapping[str, Any]:
        self.asked.append(unit)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return {"interface": self.interface, "mode": "fork"}


class Logs:
    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []

    async def tail(self, request_id: str) -> bytes:
        return f"printed by {request_id}\n".encode()

    def record(self, fields: Mapping[str, Any]) -> None:
        self.records.append(fields)


class Rig:
    def __init__(
        self, server: DirectServer, invoker: Invoker, registry: Registry, gateway: Gateway, logs: Logs
    ):
        self.server = server
        self.invoker = invoker
        self.registry = registry
        self.gateway = gateway
        self.logs = logs


def rig(
    tmp_path: Path,
    test: Callable[[Rig], Awaitable[None]],
    handler: Callable[[Asked], Awaitable[Reply | None]] | None = None,
    gateway: Gateway | None = None,
) -> None:
    async def run() -> None:
        path = str(tmp_path / "invoke.sock")
        registry = Registry()
        registry.add("f", "lambda")
        registry.add("g", "fc")
        registry.add("r", "runner")
        known = gateway or Gateway()
        logs = Logs()
        async with DirectServer(path, handler) as server:
            client = DirectClient(path)
            invoker = Invoker(registry, known, client, Clock(), logs)
            try:
                await test(Rig(server, invoker, registry, known, logs))
            finally:
                await client.close()

    asyncio.run(run())


def answering(reply: Reply | None) -> Callable[[Asked], Awaitable[Reply | None]]:
    async def handler(_asked: Asked) -> Reply | None:
        return reply

    return handler


def by_gateway(status: int, code: str, message: str, **more: object) -> Reply:
    """The gateway's own answer in the place of an app."""
    raw = error_response(status, code, message, "1-2-3")
    body = json.loads(raw.partition(b"\r\n\r\n")[2])
    body["error"] |= more
    return Reply(status, json.dumps(body).encode(), {"x-snapfork-error": code}, close=True)


def test_an_event_goes_to_its_handler_as_it_is(tmp_path: Path) -> None:
    async def handler(asked: Asked) -> Reply:
        run = json.dumps(
            {"instance": "f/3", "start": "fork", "run_ms": 1.5, "init_ms": 20, "memory_mb": 33.5}
        )
        headers = {"x-snapfork-run": run, "content-type": "application/json"}
        return Reply(body=b'{"got":' + asked.body + b"}", headers=headers)

    async def test(one: Rig) -> None:
        call = invocation(
            1, payload=b'{"a":1}', qualifier="prod", trigger="api", dialect="lambda", client_context="e30="
        )
        result = await one.invoker.invoke(call, tail=True)
        assert (result.payload, result.error, result.version) == (b'{"got":{"a":1}}', "", "LATEST")
        assert (result.instance, result.start, result.duration, result.initialise, result.memory) == (
            "f/3", "fork", 1.5, 20.0, 33.5,
        )  # fmt: skip
        assert (result.log, result.content_type) == (b"printed by id-1\n", "application/json")
        (asked,) = one.server.asked
        assert (asked.method, asked.target) == ("POST", "/invoke")
        assert asked.headers["x-snapfork-unit"] == "f:LATEST"
        told = asked.invocation
        assert told.pop("accepted_ns") > 0
        assert told.pop("trace").endswith(";Lineage=f:1")
        assert told == {
            "id": "id-1", "deadline_ms": int((Clock().now + 3.0) * 1000), "qualifier": "prod",
            "arn": "",
            "trigger": "api",
            "attempt": 1, "client_context": "e30=", "dialect": "lambda", "kind": "event",
        }  # fmt: skip
        await one.invoker.invoke(invocation(2))
        assert one.gateway.asked == ["f:LATEST"]

    rig(tmp_path, test, handler)


def test_those_who_wait_for_a_unit_ask_once(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        await asyncio.gather(*(one.invoker.invoke(invocation(n)) for n in range(20)))
        assert one.gateway.asked == ["f:LATEST"]
        one.invoker.forget(["f:LATEST"])
        one.invoker.unit_event({"event": "unit", "name": "f:LATEST", "state": "ready", "interface": "wsgi"})
        await one.invoker.invoke(invocation(21))
        assert len(one.gateway.asked) == 1

    rig(tmp_path, test)


@pytest.mark.parametrize("kind", ["handled", "unhandled"])
def test_an_error_of_the_handler_is_its_own_json(tmp_path: Path, kind: str) -> None:
    body = b'{"errorMessage":"no","errorType":"ValueError","stackTrace":[]}'

    async def test(one: Rig) -> None:
        result = await one.invoker.invoke(invocation(1))
        assert (result.error, result.payload) == (kind, body)
        assert one.logs.records == []  # its instance has said all there is

    rig(tmp_path, test, answering(Reply(200, body, {"x-snapfork-error": kind})))


LAMBDA_TIME = "2023-11-14T22:13:20.000Z"
TEXTS = [
    (504, "timeout", "timeout", "lambda",
     f"{LAMBDA_TIME} id-1 Task timed out after 3.00 seconds", "Sandbox.Timedout"),
    (504, "timeout", "timeout", "fc", "Function timed out after 3 seconds (maxMemoryUsage: 0.00MB)", None),
    (504, "timeout", "timeout", "runner", "too slow", "Timeout"),
    (502, "instance_died", "process_exited", "lambda",
     "RequestId: id-1 Error: Runtime exited without providing a reason", "Runtime.ExitError"),
    (507, "out_of_memory", "out_of_memory", "lambda",
     "RequestId: id-1 Error: Runtime exited with error: signal: killed", "Runtime.OutOfMemory"),
    (507, "out_of_memory", "out_of_memory", "runner", "too slow", "OutOfMemory"),
    (503, "unavailable", "unavailable", "lambda", "too slow", "Unavailable"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "kind", "dialect", "message", "type"), TEXTS)
def test_what_the_gateway_says_in_each_dialects_words(
    tmp_path: Path, status: int, code: str, kind: str, dialect: str, message: str, type: str | None
) -> None:
    async def test(one: Rig) -> None:
        result = await one.invoker.invoke(invocation(1, dialect=dialect))
        told = json.loads(result.payload)
        assert (result.error, told["errorMessage"], told.get("errorType")) == (kind, message, type)
        (record,) = one.logs.records
        assert (record["id"], record["status"], record["error"]) == ("id-1", status, kind)

    rig(tmp_path, test, answering(by_gateway(status, code, "too slow")))


def test_a_death_in_fcs_words(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        result = await one.invoker.invoke(invocation(1, "g", dialect="fc"))
        told = json.loads(result.payload)
        assert list(told) == ["errorMessage"]
        assert told["errorMessage"].startswith(
            "Process exited unexpectedly before completing request (duration: "
        )
        assert told["errorMessage"].endswith("ms, maxMemoryUsage: 0.00MB)")

    rig(tmp_path, test, answering(by_gateway(502, "instance_died", "it died")))


FRAME = '  File "/code/app/main.py", line 1, in <module>\n    import nothing\n'
TRACE = "Traceback (most recent call last):\n" + FRAME
STARTS = [
    (TRACE + "ModuleNotFoundError: No module named 'nothing'", "Runtime.ImportModuleError",
     "Unable to import module 'app.main': No module named 'nothing'"),
    (TRACE + "SyntaxError: invalid syntax", "Runtime.UserCodeSyntaxError",
     "Syntax error in module 'app.main': invalid syntax"),
    (TRACE + "app.errors.Setup: bad config", "Setup", "bad config"),
    ("", "Runtime.InitError", "it cannot start"),
]  # fmt: skip


@pytest.mark.parametrize(("traceback", "type", "message"), STARTS)
def test_what_keeps_a_function_from_starting(tmp_path: Path, traceback: str, type: str, message: str) -> None:
    error = GatewayError("it cannot start", "start_failed", traceback)

    async def asked_first(one: Rig) -> None:
        result = await one.invoker.invoke(invocation(1, dialect="lambda"))
        told = json.loads(result.payload)
        assert (result.error, told["errorType"], told["errorMessage"]) == ("init_failed", type, message)
        assert told["stackTrace"] == ([FRAME] if traceback else [])

    async def on_the_way(one: Rig) -> None:
        told = json.loads((await one.invoker.invoke(invocation(1, dialect="lambda"))).payload)
        assert (told["errorType"], told["errorMessage"]) == (type, message)

    rig(tmp_path, asked_first, gateway=Gateway(error=error))
    reply = by_gateway(503, "start_failed", "it cannot start", traceback=traceback)
    rig(tmp_path, on_the_way, answering(reply))


@pytest.mark.parametrize("error", [GatewayTimeout("no answer"), GatewayError("The gateway is gone.")])
def test_a_gateway_that_does_not_answer_is_not_the_functions_fault(tmp_path: Path, error: Exception) -> None:
    async def test(one: Rig) -> None:
        assert (await one.invoker.invoke(invocation(1))).error == "unavailable"

    rig(tmp_path, test, gateway=Gateway(error=error))


def test_a_connection_that_ends_without_an_answer(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        assert (await one.invoker.invoke(invocation(1))).error == "process_exited"
        assert len(one.server.asked) == 1

    rig(tmp_path, test, answering(None))


def test_what_answers_in_a_handlers_place_is_no_result(tmp_path: Path) -> None:
    """Its instance's server, with the status of HTTP, or a limit of the instance."""

    async def test(one: Rig) -> None:
        result = await one.invoker.invoke(invocation(1))
        assert (result.error, json.loads(result.payload)["errorType"]) == ("unhandled", "Runtime.Unknown")

    rig(tmp_path, test, answering(Reply(500, b"Internal Server Error")))


def test_a_unit_that_has_rested_may_be_another_thing(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        await one.invoker.invoke(invocation(1))
        await one.invoker.invoke(invocation(2))
        (unit,) = one.gateway.asked
        one.invoker.unit_event({"event": "unit", "name": unit, "state": "retired", "interface": "event"})
        await one.invoker.invoke(invocation(3))
        assert one.gateway.asked == [unit, unit]

    rig(tmp_path, test, answering(Reply(body=b"1")))


def test_refusals_are_raised(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        with pytest.raises(Throttled):
            await one.invoker.invoke(invocation(1))
        with pytest.raises(Throttled):
            await one.invoker.stream(invocation(1))
        with pytest.raises(NotFound):
            await one.invoker.invoke(invocation(1, "nobody"))
        seen = len(one.server.asked)
        one.registry.functions["f"] = replace(one.registry.functions["f"], reserved=0)
        with pytest.raises(Throttled):
            await one.invoker.invoke(invocation(1))
        one.registry.functions["f"] = replace(one.registry.functions["f"], reserved=None, disabled="audit")
        with pytest.raises(Disabled, match="audit"):
            await one.invoker.invoke(invocation(1))
        one.registry.versions["g"] = replace(one.registry.versions["g"], state="pending")
        with pytest.raises(Conflict):
            await one.invoker.invoke(invocation(1, "g"))
        one.registry.versions["r"] = replace(
            one.registry.versions["r"], state="failed", reason="no such package"
        )
        result = await one.invoker.invoke(invocation(1, "r"))
        assert (result.error, json.loads(result.payload)["errorMessage"]) == (
            "init_failed",
            "no such package",
        )
        assert len(one.server.asked) == seen

    rig(tmp_path, test, answering(by_gateway(429, "too_many_requests", "busy")))


def test_a_payload_that_the_function_does_not_take(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        with pytest.raises(TooLarge):
            await one.invoker.invoke(invocation(1))

    rig(tmp_path, test, answering(by_gateway(413, "body_too_large", "too large")))


def test_a_result_that_is_too_large(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        result = await one.invoker.invoke(invocation(1, dialect="lambda"))
        told = json.loads(result.payload)
        assert (result.error, told["errorType"]) == ("response_too_large", "Function.ResponseSizeTooLarge")
        assert "6291556 bytes" in told["errorMessage"]
        assert (await one.invoker.invoke(invocation(2, dialect="runner"))).error == ""

    rig(tmp_path, test, answering(Reply(body=b"x" * 6291557)))


# -- web apps ---------------------------------------------------------------------------------------------


def web(tmp_path: Path, test: Callable[[Rig], Awaitable[None]], reply: Reply) -> None:
    rig(tmp_path, test, answering(reply), Gateway("wsgi"))


def test_any_event_is_posted_to_a_web_app(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        call = invocation(
            1, "g", b"\x00raw", headers=(("x-fc-evil", "1"), ("x-trace", "2")), qualifier="prod"
        )
        result = await one.invoker.invoke(call)
        assert (result.payload, result.error) == (b"done", "")
        (asked,) = one.server.asked
        assert (asked.method, asked.target, asked.body) == ("POST", "/invoke", b"\x00raw")
        assert asked.headers["x-fc-request-id"] == "id-1"
        assert asked.headers["x-fc-function-name"] == "g"
        assert asked.headers["x-fc-qualifier"] == "prod"
        assert asked.headers["x-fc-control-path"] == "/invoke"
        assert asked.headers["x-trace"] == "2"
        assert "x-fc-evil" not in asked.headers

    web(tmp_path, test, Reply(200, b"done"))


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (200, {}, ""), (204, {}, ""), (404, {}, "unhandled"), (500, {}, "unhandled"),
        (404, {"x-fc-status": "200"}, ""), (200, {"x-fc-status": "404"}, "unhandled"),
    ],
)  # fmt: skip
def test_what_a_web_app_answers_an_event_with(
    tmp_path: Path, status: int, headers: dict[str, str], error: str
) -> None:
    async def test(one: Rig) -> None:
        result = await one.invoker.invoke(invocation(1, "g"))
        assert result.error == error
        if error:
            assert f"The app answered {status}" in json.loads(result.payload)["errorMessage"]

    web(tmp_path, test, Reply(status, b"" if status == 204 else b"body", headers))


def test_an_error_that_a_web_app_wrote_itself_is_left_as_it_is(tmp_path: Path) -> None:
    body = b'{"errorMessage":"mine"}'

    async def test(one: Rig) -> None:
        assert (await one.invoker.invoke(invocation(1, "g"))).payload == body

    web(tmp_path, test, Reply(500, body))


API_V2 = {
    "version": "2.0", "routeKey": "$default", "rawPath": "/items/é", "rawQueryString": "a=1&b=2",
    "cookies": ["c=d"],
    "headers": {"host": "shop.example", "x-own": "yes", "content-type": "text/plain"},
    "requestContext": {
        "http": {"method": "PUT", "path": "/items/é", "protocol": "HTTP/1.1", "sourceIp": "1.2.3.4"},
        "domainName": "shop.example", "requestId": "r", "stage": "$default", "timeEpoch": 1,
    },
    "body": base64.b64encode(b"hello").decode(), "isBase64Encoded": True,
}  # fmt: skip


def test_an_event_that_describes_a_request_is_that_request(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        result = await one.invoker.invoke(invocation(1, payload=json.dumps(API_V2).encode()))
        answer = json.loads(result.payload)
        assert (answer["statusCode"], answer["body"]) == (503, "sorry")
        assert answer["headers"]["x-answer"] == "1"
        assert (result.error, result.content_type) == ("", "application/json")
        (asked,) = one.server.asked
        assert (asked.method, asked.target, asked.body) == ("PUT", "/items/%C3%A9?a=1&b=2", b"hello")
        assert asked.headers["host"] == "shop.example"
        assert asked.headers["x-own"] == "yes"
        assert asked.invocation["kind"] == "http"

    web(tmp_path, test, Reply(503, b"sorry", {"content-type": "text/plain", "x-answer": "1"}))


# -- streams ----------------------------------------------------------------------------------------------


def test_a_stream_of_a_result(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        answer = await one.invoker.stream(invocation(1))
        assert (answer.status, answer.result) == (200, None)
        assert b"".join([piece async for piece in answer.chunks]) == b"abcdef"
        assert answer.result is not None
        assert (answer.result.error, answer.result.version) == ("", "LATEST")

    rig(tmp_path, test, answering(Reply(chunks=[b"abc", b"def"])))


def test_a_stream_that_breaks_off(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        answer = await one.invoker.stream(invocation(1, dialect="lambda"))
        assert b"".join([piece async for piece in answer.chunks]) == b"abc"
        assert answer.result is not None
        assert answer.result.error == "process_exited"

    rig(tmp_path, test, answering(Reply(chunks=[b"abc"], cut=True)))


def test_an_error_instead_of_a_stream(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        answer = await one.invoker.stream(invocation(1, dialect="lambda"))
        assert [piece async for piece in answer.chunks] == []
        assert answer.result is not None
        assert answer.result.error == "timeout"

    rig(tmp_path, test, answering(by_gateway(504, "timeout", "late")))
