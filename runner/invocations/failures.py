"""What a failed run looks like to its caller: each dialect's JSON of the error and its texts.

Lambda's are those of its managed Python runtimes; FC's those of its error pages. What a handler itself raised
is not made here: its instance has written it.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snapfork.runner.invocations.model import ErrorKind
from snapfork.runner.processes.bracket import last_lines, timed_out

if TYPE_CHECKING:
    from snapfork.runner.invocations.requests import Run

_LAST_LINE = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$", re.DOTALL)


@dataclass(frozen=True)
class Failure:
    """What is known. sentence: the gateway's. duration: ms; memory: peak in MB; limit: bytes of an answer;
    exit: how the process ended by itself."""

    kind: ErrorKind
    sentence: str
    request_id: str = ""
    timeout: float = 0.0
    duration: float = 0.0
    memory: float = 0.0
    traceback: str = ""
    module: str = ""
    limit: int = 0
    at: float = 0.0
    exit: str = ""


def body(dialect: str, failure: Failure) -> bytes:
    """The JSON of a failure."""
    made = {"lambda": _lambda, "fc": _fc}.get(dialect, _runner)(failure)
    return json.dumps(made, separators=(",", ":")).encode()


def ending(
    failure: Failure, run: Run, of_fc: bool, size_mb: int | None, accepted: float, accepted_ns: int
) -> dict[str, Any]:
    """What an instance that has died under its request would have recorded of it, and its last lines.

    {} where none did. accepted, accepted_ns: when the run was asked for, by the clock and the monotonic one.
    """
    if not run.began_ns:
        return {}
    run_ms = run.run_ms or 0.0
    waited = max(0.0, (run.began_ns - accepted_ns) / 1e6)
    billed = math.ceil(run_ms)
    lines = last_lines(
        failure.request_id, of_fc=of_fc, run_ms=run_ms, billed_ms=billed, size_mb=size_mb,
        used_mb=run.memory_mb, init_ms=run.init_ms,
    )  # fmt: skip
    stages = {"schedule": max(0.0, waited - run.init_ms), "start": run.init_ms, "run": run_ms}
    return {
        "instance": run.instance,
        "start": run.start,
        "begun": accepted + waited / 1000,
        "stages": {name: ms for name, ms in stages.items() if ms},
        "billed": billed,
        "memory": run.memory_mb,
        "lines": f"{log_line('fc' if of_fc else 'lambda', failure)}\n{lines}",
    }


def log_line(dialect: str, failure: Failure) -> str:
    """The line that the run's log has of it."""
    said: str = (_fc if dialect == "fc" else _lambda)(failure)["errorMessage"]
    return f"{said}\n" if failure.kind == "timeout" and dialect != "fc" else said


def _lambda(failure: Failure) -> dict[str, Any]:
    identity = failure.request_id
    match failure.kind:
        case "timeout":
            said = _timed_out(failure, of_fc=False)
            return {"errorType": "Sandbox.Timedout", "errorMessage": said}
        case "process_exited":
            how = f"with error: {failure.exit}" if failure.exit else "without providing a reason"
            said = f"RequestId: {identity} Error: Runtime exited {how}"
            return {"errorType": "Runtime.ExitError", "errorMessage": said}
        case "out_of_memory":
            said = f"RequestId: {identity} Error: Runtime exited with error: signal: killed"
            return {"errorType": "Runtime.OutOfMemory", "errorMessage": said}
        case "response_too_large":
            said = f"Response payload size exceeded maximum allowed payload size ({failure.limit} bytes)."
            return {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": said}
        case "init_failed":
            kind, message = _import_error(failure)
            told = {"errorType": kind, "errorMessage": message, "requestId": identity}
            return {**told, "stackTrace": _frames(failure.traceback)}
    return {"errorType": _NAMES.get(failure.kind, "Runtime.Unknown"), "errorMessage": failure.sentence}


def _fc(failure: Failure) -> dict[str, Any]:
    used = f"(duration: {round(failure.duration)}ms, maxMemoryUsage: {failure.memory:.2f}MB)"
    match failure.kind:
        case "timeout":
            return {"errorMessage": _timed_out(failure, of_fc=True)}
        case "process_exited" | "out_of_memory":
            return {"errorMessage": f"Process exited unexpectedly before completing request {used}"}
        case "init_failed":
            kind, message = _import_error(failure)
            lines = [[line.strip()] for line in _frames(failure.traceback)]
            return {"errorMessage": message, "errorType": kind.removeprefix("Runtime."), "stackTrace": lines}
    return {"errorMessage": failure.sentence, "errorType": _NAMES.get(failure.kind, "UnknownError")}


def _timed_out(failure: Failure, *, of_fc: bool) -> str:
    return timed_out(
        failure.request_id, of_fc=of_fc, timeout_s=failure.timeout, at=failure.at, used_mb=failure.memory
    )


def _runner(failure: Failure) -> dict[str, Any]:
    told: dict[str, Any] = {
        "errorMessage": failure.sentence,
        "errorType": _NAMES.get(failure.kind, "UnknownError"),
        "requestId": failure.request_id,
    }
    if failure.kind == "init_failed":
        told["errorType"] = _import_error(failure)[0]
        told["stackTrace"] = _frames(failure.traceback)
    return told


_NAMES = {
    "timeout": "Timeout",
    "process_exited": "ProcessExited",
    "out_of_memory": "OutOfMemory",
    "response_too_large": "ResponseTooLarge",
    "unavailable": "Unavailable",
    "unhandled": "Unhandled",
}


def _import_error(failure: Failure) -> tuple[str, str]:
    """errorType and errorMessage of what kept a function from starting, in the words of Lambda's runtime."""
    lines = failure.traceback.strip().splitlines()
    match = _LAST_LINE.match(lines[-1]) if lines else None
    if match is None:
        return "Runtime.InitError", failure.sentence
    kind, message = match["type"].rpartition(".")[2], match["message"] or ""
    if kind in ("ImportError", "ModuleNotFoundError"):
        return "Runtime.ImportModuleError", f"Unable to import module '{failure.module}': {message}"
    if kind in ("SyntaxError", "IndentationError", "TabError"):
        return "Runtime.UserCodeSyntaxError", f"Syntax error in module '{failure.module}': {message}"
    if kind == "AttributeError" and "has no attribute" in message and len(lines) <= 2:
        return "Runtime.HandlerNotFound", message
    return kind, message or failure.sentence


def _frames(traceback: str) -> list[str]:
    """The frames of a printed traceback, two lines each, as Lambda gives them."""
    frames: list[str] = []
    for line in traceback.splitlines():
        if line.startswith('  File "'):
            frames.append(line + "\n")
        elif frames and line.startswith("    "):
            frames[-1] += line + "\n"
    return frames


def web_failure(status: int, reason: str, answer: bytes) -> dict[str, Any]:
    """The error of a web function that answered POST /invoke with an error of HTTP."""
    text = answer[:1024].decode("utf-8", "replace").strip()
    said = f"The app answered {status} {reason}".rstrip() + (f": {text}" if text else ".")
    return {"errorMessage": said, "errorType": "HTTPError", "statusCode": status}
