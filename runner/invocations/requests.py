"""An invocation as a request to an instance, and the answer as a result."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from snapfork.runner.invocations import failures
from snapfork.runner.invocations.model import ErrorKind, Invocation, Result
from snapfork.runner.invocations.wire import Headers
from snapfork.runner.policy import chains
from snapfork.runner.registry.model import Resolved
from snapfork.runner.units import ERROR_HEADER, RUN_HEADER

EVENT = "event"
"""The gateway's word for the interface of a handler(event, context)."""
LIMITS = {"lambda": 6291556, "fc": 32 << 20}
"""Bytes of a whole result (both dialects' documented quotas); the runner's own is ANY_LIMIT."""
ANY_LIMIT = 32 << 20
_FC_STATUS = b"x-fc-status"
_JSON = "application/json"


@dataclass(frozen=True)
class Call:
    """What is sent. context: of the invocation, JSON in ASCII. shape: that of the event, where it stood for a
    request (snapfork.adapter.events.Shape), by which the answer goes back."""

    context: str
    method: str = "POST"
    target: str = "/invoke"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    shape: Any = None


def call_of(
    invocation: Invocation,
    resolved: Resolved,
    interface: str,
    now: float,
    accepted_ns: int = 0,
    arn: Callable[[Resolved, str], str] = lambda *_: "",
) -> Call:
    """The request that an invocation is to an instance of that interface.

    arn: the function's as the caller has named it, with version or alias; "": the function has its own.

    accepted_ns: when this run was asked for (CLOCK_MONOTONIC, which all processes share); 0: not known.
    """
    if interface == EVENT:
        headers = (("content-type", invocation.content_type), *invocation.headers)
        context = _context(invocation, resolved, EVENT, now, accepted_ns, arn)
        return Call(context, headers=headers, body=invocation.payload)
    # Late: Mangum comes with it, and services that only have handlers do without.
    from snapfork.adapter import events

    shape, request = events.convert(invocation.payload)
    if shape is None:
        headers = (("content-type", invocation.content_type), *invocation.headers)
    else:
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers)
    if resolved.version.configuration.dialect == "fc":
        own = _fc_headers(invocation, resolved, shape is not None)
        headers = (*(one for one in headers if not one[0].lower().startswith("x-fc-")), *own)
    kind = "http" if shape is not None else EVENT
    context = _context(invocation, resolved, kind, now, accepted_ns, arn)
    return Call(context, request.method, request.target, headers, request.body, shape)


def _context(
    invocation: Invocation,
    resolved: Resolved,
    kind: str,
    now: float,
    accepted_ns: int,
    arn: Callable[[Resolved, str], str],
) -> str:
    configuration = resolved.version.configuration
    told = {}
    if kind == EVENT and configuration.dialect == "lambda":
        chain = chains.longer(invocation.chain, invocation.function)
        told["trace"] = chains.trace_of(chain, invocation.id, now)
    return json.dumps(
        told
        | {
            "id": invocation.id,
            "deadline_ms": int((now + configuration.timeout) * 1000),
            "qualifier": invocation.qualifier,
            "arn": arn(resolved, invocation.qualifier),
            "trigger": invocation.trigger,
            "attempt": invocation.attempt,
            "client_context": invocation.client_context,
            "dialect": invocation.dialect,
            "kind": kind,
            "accepted_ns": accepted_ns,
        },
        separators=(",", ":"),
    )


def _fc_headers(invocation: Invocation, resolved: Resolved, http: bool) -> tuple[tuple[str, str], ...]:
    """What FC tells a web function of its call."""
    configuration = resolved.version.configuration
    return (
        ("x-fc-request-id", invocation.id),
        ("x-fc-function-name", resolved.function.name),
        ("x-fc-function-handler", configuration.handler),
        ("x-fc-function-memory", str(configuration.memory or "")),
        ("x-fc-qualifier", invocation.qualifier or "LATEST"),
        ("x-fc-version-id", resolved.version.version),
        ("x-fc-control-path", "/http-invoke" if http else "/invoke"),
    )


@dataclass(frozen=True)
class Run:
    """What the instance says of the run: see units.RUN_HEADER."""

    instance: str = ""
    start: str = ""
    run_ms: float | None = None
    init_ms: float = 0.0
    memory_mb: float = 0.0
    began_ns: int = 0
    exit: str = ""


def header(headers: Headers, wanted: bytes) -> str:
    """The value of a header, "" without."""
    for name, value in headers:
        if name == wanted:
            return value.decode("latin-1")
    return ""


def run_of(headers: Headers) -> Run:
    """What an answer says of its run; nothing where it says nothing sensible."""
    text = header(headers, RUN_HEADER)
    if not text:
        return Run()
    try:
        told = json.loads(text)
        run_ms = told.get("run_ms")
        return Run(
            str(told.get("instance", "")), str(told.get("start", "")),
            None if run_ms is None else float(run_ms),
            float(told.get("init_ms", 0.0)), float(told.get("memory_mb", 0.0)),
            int(told.get("began_ns", 0)), str(told.get("exit", "")),
        )  # fmt: skip
    except (ValueError, TypeError, AttributeError):
        return Run()


GATEWAY_ERRORS: dict[str, ErrorKind] = {
    "timeout": "timeout",
    "instance_died": "process_exited",
    "out_of_memory": "out_of_memory",
    "start_failed": "init_failed",
    "too_many_requests": "throttled",
    "unavailable": "unavailable",
}
"""What the gateway says in the instance's place (see door); other codes: it cannot serve the request."""


def gateway_said(body: bytes) -> tuple[str, str]:
    """Sentence and traceback of the gateway's own answer."""
    try:
        error = json.loads(body)["error"]
        return str(error["message"]), str(error.get("traceback") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:1024].decode("utf-8", "replace"), ""


def result_of(
    call: Call, interface: str, status: int, headers: Headers, body: bytes
) -> tuple[bytes, str, ErrorKind]:
    """Payload, content type and error of an answer that the instance itself has given."""
    content_type = header(headers, b"content-type") or "application/octet-stream"
    code = header(headers, ERROR_HEADER)
    if code in ("handled", "unhandled"):
        return body, content_type, "handled" if code == "handled" else "unhandled"
    if call.shape is not None:
        from snapfork.adapter import events

        answer = events.from_response(call.shape, status, headers, body)
        return json.dumps(answer).encode(), _JSON, ""
    said = header(headers, _FC_STATUS)
    if interface == EVENT and status != 200:
        return _no_result(status, body), _JSON, "unhandled"
    # An event handler's instance answers 200; a web function of FC may say x-fc-status; any other app has the
    # statuses of HTTP: what it answers 500 for has not been done.
    if interface == EVENT or said == "200" or (not said and status < 400):
        return body, content_type, ""
    return _web_error(status, body), _JSON, "unhandled"


def _no_result(status: int, body: bytes) -> bytes:
    """The error of a handler in whose place somebody else has answered: the instance's server, a limit."""
    text = body[:1024].decode("utf-8", "replace").strip()
    said = f"The function ended without a result: {status}" + (f", {text}" if text else "")
    return json.dumps({"errorMessage": said, "errorType": "Runtime.Unknown"}).encode()


def _web_error(status: int, body: bytes) -> bytes:
    try:
        if isinstance(told := json.loads(body), dict) and "errorMessage" in told:
            return body
    except ValueError:
        pass
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    return json.dumps(failures.web_failure(status, reason, body)).encode()


def failed(kind: ErrorKind, dialect: str, failure: failures.Failure, version: str, run: Run) -> Result:
    """The Result of a run that its instance did not answer for."""
    return Result(
        failures.body(dialect, failure), kind, version, failure.duration, run.init_ms, failure.memory,
        instance=run.instance, start=run.start, content_type=_JSON,
    )  # fmt: skip
