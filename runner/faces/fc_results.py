"""What became of an invocation, in FC's words: statuses, headers, error texts."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from snapfork.runner.faces.exchange import Headers, Reply
from snapfork.runner.faces.fc_errors import FcError
from snapfork.runner.invocations.model import Result

EXPOSED = (
    b"Date,x-fc-request-id,x-fc-error-type,x-fc-code-checksum,x-fc-invocation-duration,"
    b"x-fc-max-memory-usage,x-fc-log-result,x-fc-invocation-code-version"
)
LOG_BYTES = 4096
_FRAME = re.compile(r'\s*(File ".*"), (line \d+), (in .*)')


def reply(result: Result, *, checksum: str, limit: float, memory: int | None, qualifier: str) -> Reply:
    """The answer to a synchronous invocation. limit: the function's timeout; memory: its limit in MB.

    Raises FcError for what is not the function's fault: throttles, no instance, a result beyond the limit.
    """
    headers: Headers = [
        (b"x-fc-code-checksum", checksum.encode()),
        (b"x-fc-invocation-duration", b"%d" % round(result.duration)),
        (b"x-fc-max-memory-usage", b"%.2f" % result.memory),
        (b"x-fc-invocation-service-version", (qualifier or result.version).encode()),
        (b"x-fc-invocation-code-version", result.version.encode()),
        (b"access-control-expose-headers", EXPOSED),
    ]
    if result.instance:
        headers.append((b"x-fc-instance-id", result.instance.encode()))
    if result.log:
        headers.append((b"x-fc-log-result", base64.b64encode(result.log[-LOG_BYTES:])))
    if not result.error:
        return Reply(
            200, result.payload, [*headers, (b"content-type", result.content_type.encode("latin-1"))]
        )
    body, kind = function_error(result, limit, memory)
    headers += [(b"x-fc-error-type", kind), (b"content-type", b"application/json")]
    return Reply(200, json.dumps(body).encode(), headers)


def function_error(result: Result, limit: float, memory: int | None) -> tuple[dict[str, Any], bytes]:
    """FC's JSON of a function's error, and its X-Fc-Error-Type. Raises FcError as `reply` does."""
    used = f"(duration: {round(result.duration)}ms, maxMemoryUsage: {result.memory:.2f}MB)"
    exited = f"Process exited unexpectedly before completing request {used}"
    match result.error:
        case "handled":
            return error_body(result.payload), b"HandledInvocationError"
        case "unhandled" | "init_failed":
            return error_body(result.payload), b"UnhandledInvocationError"
        case "timeout":
            message = f"Function timed out after {limit:g} seconds (maxMemoryUsage: {result.memory:.2f}MB)"
            return {"errorMessage": message}, b"UnhandledInvocationError"
        case "process_exited":
            return {"errorMessage": exited}, b"UnhandledInvocationError"
        case "out_of_memory":
            over = f": its memory limit of {memory} MB was exceeded" if memory else ": it ran out of memory"
            return {"errorMessage": exited + over}, b"UnhandledInvocationError"
        case "throttled":
            raise FcError(
                429, "ResourceExhausted", _said(result.payload, "The concurrency limit is reached.")
            )
        case "response_too_large":
            raise FcError(502, "BadResponse", _said(result.payload, "The function's response is too large."))
    raise FcError(503, "ResourceThrottled", _said(result.payload, "No instance could be started."))


def error_body(payload: bytes) -> dict[str, Any]:
    """A function's error as FC's Python runtime writes it, whichever dialect's wrote it: errorMessage,
    errorType, and stackTrace, whose frames are lists of their parts."""
    said = _json(payload)
    if not isinstance(said, dict) or "errorMessage" not in said:
        return {"errorMessage": payload.decode("utf-8", "replace")}
    body = {name: said[name] for name in ("errorMessage", "errorType") if name in said}
    trace = said.get("stackTrace")
    if isinstance(trace, list):
        body["stackTrace"] = [_frame(frame) if isinstance(frame, str) else frame for frame in trace]
    return body


def _frame(text: str) -> list[str]:
    """'  File "x.py", line 2, in f\\n    code' -> the list that FC has for it."""
    head, _, source = text.strip("\n").partition("\n")
    match = _FRAME.fullmatch(head)
    parts = list(match.groups()) if match else [head.strip()]
    return [*parts, source.strip()] if source.strip() else parts


def _said(payload: bytes, otherwise: str) -> str:
    said = _json(payload)
    return str(said.get("errorMessage") or otherwise) if isinstance(said, dict) else otherwise


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return None
