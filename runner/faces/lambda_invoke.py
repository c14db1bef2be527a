"""Invocation through the Lambda API: at once, later, as a stream, or only asked whether it could be."""

from __future__ import annotations

import base64
import binascii
import json
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from typing import Any

from snapfork.runner.faces import eventstream
from snapfork.runner.faces.exchange import Head, Headers, Reply
from snapfork.runner.faces.lambda_call import Answer, Call, Desk, Handler
from snapfork.runner.faces.lambda_errors import LambdaError, invalid_value, too_many
from snapfork.runner.faces.lambda_names import shown_version
from snapfork.runner.invocations.invoker import Streaming
from snapfork.runner.invocations.model import Invocation, Result
from snapfork.runner.policy import chains
from snapfork.runner.registry import errors
from snapfork.runner.registry.model import LATEST, Version

SYNC_LIMIT = 6_291_456
"""Bytes of a payload each way: 6 MB; of an asynchronous one 1 MB (docs.aws.amazon.com, "Lambda quotas")."""
ASYNC_LIMIT = 1_048_576
RESPONSE_LIMIT = SYNC_LIMIT + 100
"""The service's own limit of a response, by the sentence that it says."""
CONTEXT_LIMIT = 3583
"""Bytes of a client context in base64."""
TAIL = 4096
_JSON = (b"content-type", b"application/json")


def payload_limit(head: Head) -> int:
    """How large the body of an Invoke may be."""
    asynchronous = head.get(b"x-amz-invocation-type") == b"Event"
    return ASYNC_LIMIT if asynchronous else SYNC_LIMIT


async def invoke(desk: Desk, call: Call) -> Answer:
    values = call.values
    kind = values.get("InvocationType", "RequestResponse")
    _refuse(values)
    version = _resolve(desk, call)
    payload = _payload(values["Payload"])
    context = _client_context(values.get("ClientContext", ""))
    if kind == "DryRun":
        return Reply(204)
    _startable(desk, call, version)
    if kind == "Event":
        return await _enqueue(desk, call, payload, context)
    _refuse_loop(desk, call)
    tail = values.get("LogType") == "Tail"
    result = await desk.invoker.invoke(_invocation(call, payload, context, "api"), tail)
    return _reply(result, tail)


async def invoke_async(desk: Desk, call: Call) -> Answer:
    """The API of 2014: an Event by another name."""
    _startable(desk, call, _resolve(desk, call))
    await _enqueue(desk, call, _payload(call.values["InvokeArgs"]), "")
    return Reply(202, b'{"Status":202}', [_JSON])


async def invoke_stream(desk: Desk, call: Call) -> Answer:
    values = call.values
    _refuse(values)
    version = _resolve(desk, call)
    payload = _payload(values["Payload"])
    context = _client_context(values.get("ClientContext", ""))
    if values.get("InvocationType") == "DryRun":
        return Reply(204)
    _startable(desk, call, version)
    _refuse_loop(desk, call)
    streaming = await desk.invoker.stream(_invocation(call, payload, context, "api"))
    headers: Headers = [(b"content-type", eventstream.CONTENT_TYPE)]
    if streaming.result is not None:
        _refuse_system_error(streaming.result)
    executed = streaming.result.version if streaming.result else version.version
    headers.append((b"x-amz-executed-version", shown_version(executed).encode()))
    log = desk.invoker.log if values.get("LogType") == "Tail" else None
    return Reply(200, _frames(streaming, call.request_id, log), headers)


def _refuse(values: dict[str, Any]) -> None:
    """Raise for what only functions of other kinds can be asked, which cannot be made here."""
    if "TenantId" in values:
        raise invalid_value("The function is not configured for tenant isolation: TenantId cannot be used.")
    if "DurableExecutionName" in values:
        raise invalid_value("The function is not durable: DurableExecutionName cannot be used.")


def _resolve(desk: Desk, call: Call) -> Version:
    """The version that the call may meet. Raises errors.NotFound."""
    return desk.operations.resolve(call.function, call.kept, random.random).version


def _startable(desk: Desk, call: Call, version: Version) -> None:
    """Raise for a version that never had code to run. One that is pending is waited for when it is run."""
    if version.state == "failed" and not version.serving:
        raise LambdaError(
            "ResourceConflictException",
            "The operation cannot be performed at this time. The function is currently in the following "
            "state: Failed",
        )


def _payload(body: bytes) -> bytes:
    """The event as JSON; nothing is {}. Raises LambdaError."""
    if not body:
        return b"{}"
    try:
        json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) or "nested too deeply"
        raise LambdaError(
            "InvalidRequestContentException",
            f"Could not parse request body into json: Could not parse payload into json: {reason[:200]}",
        ) from None
    return body


def _no_constant(name: str) -> Any:
    raise ValueError(f"Unrecognized token '{name}'")


def _client_context(text: str) -> str:
    """The client context as it came. Raises LambdaError."""
    if not text:
        return ""
    try:
        if len(text) > CONTEXT_LIMIT or not isinstance(
            json.loads(base64.b64decode(text, validate=True)), dict
        ):
            raise ValueError
    except (binascii.Error, ValueError, RecursionError):
        raise LambdaError(
            "InvalidRequestContentException",
            f"The client context must be a JSON object in base64 of at most {CONTEXT_LIMIT} bytes.",
        ) from None
    return text


def _invocation(call: Call, payload: bytes, context: str, trigger: str) -> Invocation:
    return Invocation(
        call.request_id,
        call.function,
        call.kept or (LATEST if call.qualifier else ""),
        payload,
        trigger,
        "lambda",
        context,
        content_type="application/json",
        chain=_chain(call),
    )


def _chain(call: Call) -> str:
    """What the calling function says of the chain it is part of, if a function calls."""
    sent = call.head.get(chains.TRACE_HEADER.encode())
    return chains.of_trace(sent.decode("latin-1")) if sent else ""


def _refuse_loop(desk: Desk, call: Call) -> None:
    """Raise where functions have called each other too often; of an Event the queue takes care."""
    if not chains.is_loop(_chain(call), call.function):
        return
    latest = desk.operations.resolve(call.function).version
    if latest.configuration.extra.get(chains.SETTING) != "Allow":
        raise LambdaError("RecursiveInvocationException", chains.ERROR.partition(": ")[2])


async def _enqueue(desk: Desk, call: Call, payload: bytes, context: str) -> Reply:
    call.request_id = _repeatable_id(call) or call.request_id
    try:
        await desk.queue.enqueue(_invocation(call, payload, context, "async"))
    except errors.LimitExceeded as error:
        raise too_many(error.message, reserved=False, retry_after=5) from None
    return Reply(202)


def _repeatable_id(call: Call) -> str:
    """The request id of an Event whose client tells its calls apart: a retry of the call has it too.

    It is bound to key, function and qualifier: nobody can take another's.
    """
    sent = call.head.get(b"amz-sdk-invocation-id")
    if not sent:
        return ""
    seed = b"\0".join((call.key.id.encode(), call.function.encode(), call.qualifier.encode(), sent))
    return str(uuid.UUID(bytes=sha256(seed).digest()[:16], version=4))


def _reply(result: Result, tail: bool) -> Reply:
    _refuse_system_error(result)
    payload, error = result.payload, result.error
    if error == "response_too_large" or (not error and len(payload) > RESPONSE_LIMIT):
        error = "response_too_large"
        payload = json.dumps(
            {
                "errorMessage": "Response payload size exceeded maximum allowed payload size "
                f"({RESPONSE_LIMIT} "
                "bytes).",
                "errorType": "Function.ResponseSizeTooLarge",
            }
        ).encode()
    headers: Headers = [_JSON, (b"x-amz-executed-version", shown_version(result.version).encode())]
    if error:
        headers.append((b"x-amz-function-error", b"Handled" if error == "handled" else b"Unhandled"))
    if tail:
        headers.append((b"x-amz-log-result", base64.b64encode(result.log[-TAIL:])))
    return Reply(200, payload, headers)


def _refuse_system_error(result: Result) -> None:
    """Raise for what is no fault of the function."""
    if result.error == "throttled":
        raise too_many("Rate Exceeded.", reserved=_says(result, "reserved"))
    if result.error == "unavailable":
        raise LambdaError(
            "ServiceException", "The function could not be run: an internal error has occurred."
        )


def _says(result: Result, word: str) -> bool:
    return word.encode() in result.payload


async def _frames(
    streaming: Streaming, request_id: str, log: Callable[[str], Awaitable[bytes]] | None
) -> AsyncIterator[bytes]:
    async for chunk in streaming.chunks:
        for at in range(0, len(chunk), eventstream.PIECE):
            piece = chunk[at : at + eventstream.PIECE]
            yield eventstream.frame("PayloadChunk", piece, "application/octet-stream")
    ending: dict[str, str] = {}
    result = streaming.result
    if result is not None and result.error:
        ending["ErrorCode"] = "Handled" if result.error == "handled" else "Unhandled"
        ending["ErrorDetails"] = result.payload.decode(errors="replace")
    if log is not None:
        ending["LogResult"] = base64.b64encode((await log(request_id))[-TAIL:]).decode()
    yield eventstream.frame("InvokeComplete", json.dumps(ending).encode(), "application/json")


HANDLERS: dict[str, Handler] = {
    "Invoke": invoke,
    "InvokeAsync": invoke_async,
    "InvokeWithResponseStream": invoke_stream,
}
