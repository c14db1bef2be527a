"""The runner's own error answers."""

from __future__ import annotations

import json

from snapfork.runner.http.answers import error_response, request_id_for


def test_a_whole_answer() -> None:
    answer = error_response(429, "too_many_requests", "later", "id-1", extra=((b"retry-after", b"1"),))
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 429 Too Many Requests"
    headers = dict(line.split(b": ", 1) for line in lines[1:])
    assert headers[b"content-length"] == b"%d" % len(body)
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"x-request-id"] == b"id-1"
    assert headers[b"retry-after"] == b"1"
    assert headers[b"connection"] == b"close"
    assert headers[b"date"].endswith(b"GMT")
    assert json.loads(body) == {
        "error": {"code": "too_many_requests", "message": "later", "request_id": "id-1"}
    }


def test_of_head_only_the_head() -> None:
    whole, head = (
        error_response(504, "timeout", "late", "i", head=flag, close=False) for flag in (False, True)
    )
    assert whole.startswith(head) and head.endswith(b"\r\n\r\n")
    assert b"connection" not in head


def test_request_ids_differ_by_run_loan_and_request() -> None:
    ids = {request_id_for(boot, loan, seq) for boot in ("a", "b") for loan in (1, 17) for seq in (0, 1)}
    assert len(ids) == 8
