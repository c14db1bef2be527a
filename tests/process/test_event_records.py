"""What instances of deployed functions write down: records, bracket lines, and the ids in both."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import time
from typing import Any

import pytest
from eventserved import EventGateway
from snapfork.runner.invocations.model import Record
from snapfork.runner.processes import life
from snapfork.runner.processes.ledger import Ledger
from snapfork.runner.wire import frames
from snapfork.runner.wire.frames import LoanFrame

FIELDS = set(Record.__dataclass_fields__)
RUN = "x-snapfork-run"


def hello(environ: Any, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    own = sorted(name for name in environ if "SNAPFORK" in name.upper() and name.startswith("HTTP_"))
    told = {
        "invocation": environ.get("snapfork.invocation"),
        "id": environ["snapfork.request_id"],
        "own": own,
        "body": body.decode(),
    }
    data = json.dumps(told).encode()
    status = "500 Internal Server Error" if environ["PATH_INFO"] == "/broken" else "200 OK"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    print("web code")
    return [data]


async def asgi_hello(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    own = sorted(name.decode() for name, _ in scope["headers"] if name.startswith(b"x-snapfork"))
    told = {
        "invocation": scope.get("snapfork.invocation"),
        "own": own,
        "body": message["body"].decode(),
    }
    data = json.dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]
    status = 500 if scope["path"] == "/broken" else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    print("web code")
    await send({"type": "http.response.body", "body": data})


WEB = [(hello, "wsgi"), (asgi_hello, "asgi")]


def test_each_invocation_of_a_handler_leaves_a_record() -> None:
    with EventGateway(lambda event, context: time.sleep(0.03)) as app:
        before = time.time()
        client = app.invoke({}, trigger="async", attempt=2, qualifier="live")
        status, headers, _ = client.response()
        run = json.loads(headers[RUN])
        client = app.invoke({}, client, id="r-2")
        client.response()
        first, second = app.records(2)
    assert set(first) == FIELDS
    assert (first["id"], first["function"], first["version"], first["instance"]) == ("r-1", "shop", "3", "7")
    assert (first["trigger"], first["attempt"], first["qualifier"]) == ("async", 2, "live")
    assert (first["status"], first["error"], first["start"]) == (200, "", "warm")
    assert before <= first["begun"] <= time.time()
    assert first["stages"]["run"] >= 30 and first["billed"] >= 30 and first["memory"] > 1
    assert (second["id"], second["attempt"], second["trigger"]) == ("r-2", 1, "api")
    assert "schedule" not in second["stages"]
    assert (run["instance"], run["start"], run["init_ms"]) == ("7", "warm", 0.0)
    assert run["run_ms"] >= 30 and run["memory_mb"] > 1


def test_the_request_that_an_instance_was_started_for_says_how_long_that_took() -> None:
    with EventGateway(lambda event, context: 1) as app:
        t0 = time.monotonic_ns() - 250_000_000
        client = app.request("POST", "/invoke", b"1", invocation={}, start=frames.FORK, t0_ns=t0)
        headers = client.response()[1]
        client = app.request("POST", "/invoke", b"1", client=client, invocation={"id": "r-2"})
        client.response()
        first, second = app.records(2)
        report = app.lines("r-1")[-1]
    assert first["start"] == "fork" and first["stages"]["start"] >= 250
    assert second["start"] == "warm" and "start" not in second["stages"]
    assert json.loads(headers[RUN])["init_ms"] >= 250
    assert float(re.search(r"Init Duration: ([0-9.]+) ms", report)[1]) >= 250  # type: ignore[index]


def test_errors_are_in_the_record() -> None:
    def handler(event: Any, context: Any) -> Any:
        raise ValueError

    with EventGateway(handler) as app:
        app.invoke({}).response()
        assert app.records()[0]["error"] == "unhandled"


def test_lines_of_lambda_bracket_the_invocation() -> None:
    def handler(event: Any, context: Any) -> Any:
        print("first\nsecond")
        sys.stderr.write("third\n")
        print("no newline", end="")
        return 1

    with EventGateway(handler) as app:
        app.invoke({}).response()
        lines = app.lines("r-1")  # they are there when the answer is
    assert lines[:4] == ["START RequestId: r-1 Version: 3", "first", "second", "third"]
    assert lines[4:6] == ["no newline", "END RequestId: r-1"]
    assert re.fullmatch(
        r"REPORT RequestId: r-1\tDuration: [0-9.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 256 MB"
        r"\tMax Memory Used: \d+ MB",
        lines[6],
    )
    assert len(lines) == 7


def test_a_fork_that_returns_from_the_handler_writes_nothing_down() -> None:
    def handler(event: Any, context: Any) -> str:
        life.expose_children()
        if (pid := os.fork()) == 0:
            return "child"
        os.waitpid(pid, 0)
        return "parent"

    with EventGateway(handler) as app:
        client = app.invoke({})
        assert client.response()[2] == b'"parent"'
        app.invoke({}, client, id="r-2")
        client.response()
        assert [record["id"] for record in app.records(2)] == ["r-1", "r-2"]
        said = "\n".join(unit.text for unit in app.said() if unit.request_id == "r-1")
    assert said.count("END RequestId: r-1") == 1 and "came back into the server" in said


def test_lines_of_fc_bracket_the_invocation() -> None:
    with EventGateway(lambda event, context: print("mine"), dialect="fc") as app:
        app.invoke(b"").response()
        lines = app.lines("r-1")
        client = app.invoke(b"", id="r-2", dialect="lambda")
        client.response()
        assert app.lines("r-2")[0] == "START RequestId: r-2 Version: 3"
    assert lines[:3] == ["FC Invoke Start RequestId: r-1", "mine", "FC Invoke End RequestId: r-1"]
    assert re.fullmatch(
        r"Duration: [0-9.]+ ms, Billed Duration: \d+ ms, Memory Size: 256 MB, Max Memory Used: \d+ MB",
        lines[3],
    )


def test_the_root_logger_of_a_handler_writes_as_on_its_platform() -> None:
    from snapfork.adapter.events import logs
    from snapfork.adapter.events.context import Context, current

    record = logging.LogRecord("shop", logging.INFO, "f", 1, "hello %s", ("you",), None)
    context = Context({}, {"id": "r-9"})
    for dialect, expected in (
        ("lambda", r"\[INFO\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\tr-9\thello you"),
        ("fc", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z r-9 \[INFO\] hello you"),
    ):
        root = logging.getLogger()
        before, root.handlers, level = root.handlers, [], root.level
        token = current.set(context)
        try:
            logs.install(dialect)
            (handler,) = root.handlers
            assert re.fullmatch(expected, handler.format(record))
            logs.install(dialect)
            assert len(root.handlers) == 1
        finally:
            current.reset(token)
            root.handlers, root.level = before, level


@pytest.mark.parametrize(("web", "interface"), WEB)
def test_a_web_app_knows_its_invocation_and_sees_no_header_of_ours(web: Any, interface: str) -> None:
    with EventGateway(web, interface) as app:
        headers = ("X-Snapfork-Error: x", "X-Snapfork-Run: y")
        client = app.request("POST", "/invoke", b"data", headers, invocation={"trigger": "timer"})
        status, found, body = client.response()
        told = json.loads(body)
        assert told["own"] == [] and told["body"] == "data"
        assert told["invocation"] == {"id": "r-1", "kind": "event", "trigger": "timer", "attempt": 1}
        assert found["x-request-id"] == "r-1"
        run = json.loads(found[RUN])
        assert run["instance"] == "7" and "run_ms" not in run
        lines = app.lines("r-1")
        assert [lines[0], lines[1], lines[2]] == [
            "START RequestId: r-1 Version: 3",
            "web code",
            "END RequestId: r-1",
        ]
        record = app.records()[0]
        assert (record["id"], record["trigger"], record["status"], record["error"]) == (
            "r-1",
            "timer",
            200,
            "",
        )


@pytest.mark.parametrize(("web", "interface"), WEB)
def test_a_web_app_that_answers_an_event_with_an_error_has_failed(web: Any, interface: str) -> None:
    with EventGateway(web, interface) as app:
        client = app.request("GET", "/broken", invocation={"kind": "http"})
        client.response()
        client = app.request("POST", "/broken", client=client, invocation={"id": "r-2"})
        client.response()
        app.request("GET", "/broken").response()
        assert [(one["status"], one["error"]) for one in app.records(3)] == [
            (500, ""),
            (500, "unhandled"),
            (500, ""),
        ]


@pytest.mark.parametrize(("web", "interface"), WEB)
def test_a_clients_request_leaves_a_record_and_no_lines_of_ours(web: Any, interface: str) -> None:
    with EventGateway(web, interface) as app:
        headers = ('X-Snapfork-Invocation: {"id": "mine"}', "x-snapfork-unit: other:1", "X-SNAPFORK-ERROR: x")
        status, found, body = app.request("POST", "/", b"data", headers).response()
        told = json.loads(body)
        assert told["invocation"] is None and told["own"] == []
        assert RUN not in found and found["x-request-id"].startswith("0123abcd-")
        (record,) = app.records()
        assert (record["id"], record["trigger"]) == (found["x-request-id"], "http")
        assert app.lines(record["id"]) == ["web code"]


def test_a_request_that_passes_its_timeout_among_threads() -> None:
    def app_(environ: Any, start_response: Any) -> list[bytes]:
        time.sleep(600)
        return []

    with EventGateway(app_, "wsgi", concurrency=2, timeout=0.1) as app:
        client = app.request("POST", "/invoke", invocation={})
        assert client.response()[0] == 504
        (record,) = app.records()
        assert (record["status"], record["error"]) == (504, "timeout")
        first, late, _, end, report = app.lines(record["id"])
        assert first.startswith("START ") and end.startswith("END ") and report.startswith("REPORT ")
        assert late.endswith(f"Z {record['id']} Task timed out after 30.00 seconds")


def test_a_request_that_passes_its_timeout_on_a_loop() -> None:
    async def app_(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(600)

    with EventGateway(app_, "asgi", timeout=0.1) as app:
        client = app.request("POST", "/invoke", invocation={"dialect": "fc"})
        assert client.response()[0] == 504
        (record,) = app.records()
        assert (record["status"], record["error"]) == (504, "timeout")
        first, late, end, _ = app.lines(record["id"])
        assert first.startswith("FC Invoke Start ") and end.startswith("FC Invoke End ")
        assert re.fullmatch(r"Function timed out after 30 seconds \(maxMemoryUsage: \d+\.\d\dMB\)", late)


def test_background_work_of_an_asgi_app_is_billed_to_its_request() -> None:
    async def app_(scope: Any, receive: Any, send: Any) -> None:
        await asgi_hello(scope, receive, send)
        await asyncio.sleep(0.1)

    with EventGateway(app_, "asgi") as app:
        begun = time.monotonic()
        app.request("GET", "/").response()
        answered = time.monotonic() - begun
        (record,) = app.records()
        assert record["billed"] >= 100 and record["stages"]["run"] >= 100
        assert answered < record["stages"]["run"] / 1000 + 1


def _loan(now_ns: int = 0) -> Any:
    from snapfork.runner.processes.link import Loan

    frame = LoanFrame(frames.WARM, False, 0, 0, 1, now_ns, frames.pack_addresses(None, ("x", None)), b"")
    return Loan(frame, -1)


def test_overlapping_requests_are_billed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    now = 0
    monkeypatch.setattr(time, "monotonic_ns", lambda: now * 1_000_000)
    monkeypatch.setattr(
        "snapfork.runner.processes.stdio.record", lambda name, data: told.append(json.loads(data))
    )
    ledger = Ledger({}, "shop:3", "1", records=True, is_event=False)
    accounts: dict[str, Any] = {}
    # a runs 0-10, b 2-4, c 8-15, d 20-21: busy for 16 ms in all
    for at, name, begins in [
        (0, "a", True), (2, "b", True), (4, "b", False), (8, "c", True), (10, "a", False), (15, "c", False),
        (20, "d", True), (21, "d", False),
    ]:  # fmt: skip
        now = at
        if begins:
            accounts[name] = ledger.begin(name, None, _loan(), at * 1_000_000)
        else:
            ledger.end(accounts[name], 200)
            ledger.end(accounts[name], 500)  # only the first counts
    assert {one["id"]: one["billed"] for one in told} == {"a": 10, "b": 0, "c": 5, "d": 1}
    assert {one["id"]: one["stages"]["run"] for one in told} == {"a": 10, "b": 2, "c": 7, "d": 1}
    assert [one["function"] for one in told] == ["shop"] * 4 and told[0]["version"] == "3"


def test_billed_time_of_threads_is_not_more_than_passed() -> None:
    def handler(event: Any, context: Any) -> Any:
        time.sleep(0.1)

    with EventGateway(handler, concurrency=4) as app:
        begun = time.monotonic()
        clients = [app.invoke({}, id=f"r-{number}") for number in range(4)]
        for client in clients:
            client.response()
        passed = (time.monotonic() - begun) * 1000
        found = app.records(4)
    assert sum(one["billed"] for one in found) <= passed + 4 * 1
    assert all(one["stages"]["run"] >= 100 for one in found)


@pytest.mark.parametrize(
    "told", ["{", "[]", '{"id": 5}', '{"id": "\\u00e9"}', '{"id": ""}', '{"id": "a\\nb"}']
)
def test_an_invocation_header_that_is_none_leaves_an_id_of_our_own(told: str) -> None:
    with EventGateway(hello, "wsgi") as app:
        headers = ("X-Snapfork-Unit: app", f"X-Snapfork-Invocation: {told}")
        client = app.request("POST", "/invoke", b"", headers, direct=True)
        assert json.loads(client.response()[2])["id"].startswith("0123abcd-")


def test_records_pass_a_pipe_that_others_write_to() -> None:
    def handler(event: Any, context: Any) -> Any:
        print("x" * 5000)
        sys.stderr.write("err\n")

    with EventGateway(handler) as app:
        for number in range(20):
            client = app.invoke({}, id=f"n-{number}")
            client.response()
            client.close()
        assert [one["id"] for one in app.records(20)] == [f"n-{number}" for number in range(20)]
