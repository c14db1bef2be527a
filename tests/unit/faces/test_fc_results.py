"""Results in FC's words."""

from __future__ import annotations

from typing import get_args

import pytest
from snapfork.runner.faces import fc_results
from snapfork.runner.faces.exchange import Reply
from snapfork.runner.faces.fc_errors import FcError
from snapfork.runner.invocations.model import FUNCTION_ERRORS, ErrorKind, Result


def reply(result: Result) -> Reply:
    return fc_results.reply(result, "123", "prod")


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


@pytest.mark.parametrize("error", sorted(FUNCTION_ERRORS))
def test_a_functions_error_is_200_with_its_body(error: ErrorKind) -> None:
    kind = b"HandledInvocationError" if error == "handled" else b"UnhandledInvocationError"
    answer = reply(Result(b'{"errorMessage": "no"}', error=error, content_type="text/plain"))
    assert (answer.status, answer.body) == (200, b'{"errorMessage": "no"}')
    assert headers(answer)[b"x-fc-error-type"] == kind
    assert headers(answer)[b"content-type"] == b"application/json"


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
