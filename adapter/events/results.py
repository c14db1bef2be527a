"""Payloads to events, results to payloads, and errors to JSON, as the runtimes of Lambda and FC do it.

dialect: "lambda" (and "runner"): events are JSON, results are JSON, bytes go out as they are.
"fc": events are bytes, results that are bytes or text go out as they are, others as JSON.
"""

from __future__ import annotations

import decimal
import json
import os
import traceback
from types import TracebackType
from typing import Any

JSON = "application/json"
BINARY = "application/octet-stream"
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Fault(Exception):
    """What the runtime itself has to complain of; `kind` is its errorType, such as "Runtime.MarshalError"."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def event_of(payload: bytes, dialect: str) -> Any:
    """The event that a handler gets. Raises Fault."""
    if dialect == "fc":
        return payload
    if not payload:
        return {}  # as Lambda has it for an invocation without one
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None


def payload_of(result: Any, dialect: str) -> tuple[bytes, str]:
    """What a handler returned, as bytes and their content type. Raises Fault."""
    if isinstance(result, (bytes, bytearray, memoryview)):
        return bytes(result), BINARY
    if dialect == "fc" and isinstance(result, str):
        return result.encode("utf-8", "surrogatepass"), BINARY
    return to_json(result), JSON


def to_json(result: Any) -> bytes:
    """`result` as JSON. Raises Fault."""
    try:
        return json.dumps(result, default=_number).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from None


def _number(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        whole = value.is_finite() and value == value.to_integral_value()
        return int(value) if whole else float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def error_of(error: BaseException, dialect: str, request_id: str) -> dict[str, Any]:
    """The error's JSON: {"errorMessage", "errorType", "stackTrace"}, in Lambda's dialect also "requestId"."""
    kind, message = type(error).__name__, str(error)
    stack = user_frames(error.__traceback__)
    if isinstance(error, Fault):
        kind, stack = error.kind, []
    elif isinstance(error, SystemExit | KeyboardInterrupt):
        kind, stack = "Runtime.ExitError", []
        message = f"RequestId: {request_id} Error: Runtime exited with error: exit status {_status(error)}"
    if dialect == "fc":
        lines = [
            [f'File "{one.filename}"', f"line {one.lineno}", f"in {one.name}", (one.line or "").strip()]
            for one in stack
        ]
        return {"errorMessage": message, "errorType": kind, "stackTrace": lines}
    return {
        "errorMessage": message,
        "errorType": kind,
        "requestId": request_id,
        "stackTrace": traceback.format_list(stack),
    }


def log_text(told: dict[str, Any], error: BaseException) -> str:
    """The lines that an error leaves in the function's log."""
    head = f"[ERROR] {told['errorType']}: {told['errorMessage']}\n"
    if isinstance(error, (Fault, SystemExit, KeyboardInterrupt)):
        return head
    frames = "".join(traceback.format_list(user_frames(error.__traceback__)))
    return f"{head}Traceback (most recent call last):\n{frames}{told['errorType']}: {told['errorMessage']}\n"


def user_frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    """The frames of `trace` from the handler on."""
    frames = list(traceback.extract_tb(trace))
    while frames and frames[0].filename.startswith(_OURS):
        del frames[0]
    return frames


def _status(error: SystemExit | KeyboardInterrupt) -> int:
    """The exit status of a Python process that ends by `error`."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1
