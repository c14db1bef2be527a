"""What became of an invocation, in FC's statuses and headers; its JSON the invoker has made already."""

from __future__ import annotations

import base64
import json

from snapfork.runner.faces.exchange import Headers, Reply
from snapfork.runner.faces.fc_errors import FcError
from snapfork.runner.invocations.model import FUNCTION_ERRORS, Result

EXPOSED = (
    b"Date,x-fc-request-id,x-fc-error-type,x-fc-code-checksum,x-fc-invocation-duration,"
    b"x-fc-max-memory-usage,x-fc-log-result,x-fc-invocation-code-version"
)
LOG_BYTES = 4096
KINDS = {"handled": b"HandledInvocationError"}
"""X-Fc-Error-Type of a function's errors; of all others UnhandledInvocationError."""


def reply(result: Result, checksum: str, qualifier: str) -> Reply:
    """The answer to a synchronous invocation. checksum: of the code that ran; qualifier: as it was asked for.

    Raises FcError for what is not the function's fault: throttles, no instance, a result beyond the limit.
    """
    if result.error and result.error not in FUNCTION_ERRORS:
        raise _system_error(result)
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
    if result.error:
        headers.append((b"x-fc-error-type", KINDS.get(result.error, b"UnhandledInvocationError")))
        headers.append((b"content-type", b"application/json"))
    else:
        headers.append((b"content-type", result.content_type.encode("latin-1")))
    return Reply(200, result.payload, headers)


def _system_error(result: Result) -> FcError:
    match result.error:
        case "throttled":
            return FcError(
                429, "ResourceExhausted", _said(result.payload, "The concurrency limit is reached.")
            )
        case "response_too_large":
            return FcError(502, "BadResponse", _said(result.payload, "The function's response is too large."))
    return FcError(503, "ResourceThrottled", _said(result.payload, "No instance could be started."))


def _said(payload: bytes, otherwise: str) -> str:
    try:
        said = json.loads(payload)
    except ValueError:
        return otherwise
    return str(said.get("errorMessage") or otherwise) if isinstance(said, dict) else otherwise
