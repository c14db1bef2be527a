"""Results in FC's words."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from snapfork.runner.faces import fc_results
from snapfork.runner.faces.exchange import Reply
from snapfork.runner.faces.fc_errors import FcError
from snapfork.runner.invocations.model import FUNCTION_ERRORS, ErrorKind, Result


def reply(result: Result, memory: int | None = 128) -> Reply:
    return fc_results.reply(result, checksum="123", limit=3.0, memory=memory, qualifier="prod")


def headers(answer: Reply) -> dict[bytes, bytes]:
    return dict(answer.headers)


def test_a_result_goes_out_as_it_is() -> None:
    answer = reply(
        Result(b"\x00\xff", version="2", duration=12.4, memory=31.456, log=b"x" * 5000, instance="c-1")
    )
    assert (answer.status, answer.body) == (200, b"\x00\xff")
    assert headers(answer) == {
        b"content-type": b"application/octet-stream",
        b"x-fc-code-checksum": b"123",
        b"x-fc-invocation-duration": b"12",
        b"x-fc-max-memory-usage": b"31.46",
        b"x-fc-invocation-service-version": b"prod",
        b"x-fc-invocation-code-version": b"2",
        b"x-fc-instance-id": b"c-1",
        b"x-fc-log-result": b"eHh4" * 1365 + b"eA==",
        b"access-control-expose-headers": fc_results.EXPOSED,
    }


@pytest.mark.parametrize(
    ("error", "kind", "body"),
    [
        ("unhandled", b"UnhandledInvocationError", {"errorMessage": "no", "errorType": "ValueError"}),
        ("handled", b"HandledInvocationError", {"errorMessage": "no", "errorType": "ValueError"}),
        ("init_failed", b"UnhandledInvocationError", {"errorMessage": "no", "errorType": "ValueError"}),
        (
            "timeout",
            b"UnhandledInvocationError",
            {"errorMessage": "Function timed out after 3 seconds (maxMemoryUsage: 9.00MB)"},
        ),
        (
            "process_exited",
            b"UnhandledInvocationError",
            {
                "errorMessage": "Process exited unexpectedly before completing request"
                " (duration: 7ms, maxMemoryUsage: 9.00MB)"
            },
        ),
        (
            "out_of_memory",
            b"UnhandledInvocationError",
            {
                "errorMessage": "Process exited unexpectedly before completing request"
                " (duration: 7ms, maxMemoryUsage: 9.00MB): its memory limit of 128 MB was exceeded"
            },
        ),
    ],
)
def test_a_functions_error_is_200_with_fcs_body(error: ErrorKind, kind: bytes, body: dict[str, str]) -> None:
    payload = b'{"errorMessage": "no", "errorType": "ValueError", "requestId": "1-2"}'
    answer = reply(Result(payload, error=error, duration=7.2, memory=9.0))
    assert answer.status == 200
    assert headers(answer)[b"x-fc-error-type"] == kind
    assert headers(answer)[b"content-type"] == b"application/json"
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body) == body


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ("throttled", 429, "ResourceExhausted"),
        ("unavailable", 503, "ResourceThrottled"),
        ("response_too_large", 502, "BadResponse"),
    ],
)
def test_what_is_not_the_functions_fault_is_an_error(error: ErrorKind, status: int, code: str) -> None:
    with pytest.raises(FcError) as caught:
        reply(Result(b'{"errorMessage": "so"}', error=error))
    assert (caught.value.status, caught.value.code, caught.value.message) == (status, code, "so")


def test_every_kind_of_error_has_an_answer() -> None:
    for error in get_args(ErrorKind):
        if error in FUNCTION_ERRORS or not error:
            assert reply(Result(b"{}", error=error)).status == 200
        else:
            with pytest.raises(FcError):
                reply(Result(b"", error=error))


@pytest.mark.parametrize(
    ("frame", "parts"),
    [
        (
            '  File "/code/index.py", line 2, in my_handler\n    raise ValueError\n',
            ['File "/code/index.py"', "line 2", "in my_handler", "raise ValueError"],
        ),
        ('  File "a.py", line 1, in <module>\n', ['File "a.py"', "line 1", "in <module>"]),
        ("odd", ["odd"]),
        (["File", "x"], ["File", "x"]),
    ],
)
def test_frames_are_lists(frame: Any, parts: list[str]) -> None:
    said = json.dumps({"errorMessage": "m", "errorType": "t", "stackTrace": [frame]}).encode()
    assert fc_results.error_body(said)["stackTrace"] == [parts]


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b"not json"])
def test_an_error_that_is_no_json_is_its_message(payload: bytes) -> None:
    assert fc_results.error_body(payload) == {"errorMessage": payload.decode("utf-8", "replace")}
