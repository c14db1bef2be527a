"""HTTP behaviours of the ASGI loop, as raw bytes over lent connections."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
from collections.abc import Iterator

import pytest
from asgiapps import describe, menu
from asgilender import Lender
from snapfork.runner.processes.link import END, FORK, KEEP, RETRY
from snapfork.runner.wire import fds, page


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a.example", *lines, "", ""]).encode()


def post(path: str, body: bytes, *lines: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: a.example", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def lender(request: pytest.FixtureRequest) -> Iterator[Lender]:
    with Lender(menu, uvloop=request.param) as lender:
        yield lender


def test_sticky_loan_serves_requests_and_goes_back_after_idling(lender: Lender) -> None:
    client = lender.lend(get("/"))
    assert client.response()[2] == b"hello"
    client.send(get("/scope"))
    assert client.response()[0] == 200
    back = lender.returned()
    assert (back.how, back.requests, back.leftover) == (KEEP, 2, b"")
    assert back.consumed == len(get("/scope"))
    lender.lend_again(lender.held[1], get("/"))
    assert client.response()[2] == b"hello"


def test_loan_for_one_request_goes_back_at_the_boundary(lender: Lender) -> None:
    client = lender.lend(get("/"), sticky=False)
    assert client.response()[2] == b"hello"
    assert lender.returned().how == KEEP


def test_response_headers(lender: Lender) -> None:
    client = lender.lend(get("/"))
    _, first, _ = client.response()
    client.send(get("/"))
    _, second, _ = client.response()
    assert first["server"] == "snapfork"
    assert "date" in first
    assert first["x-request-id"] != second["x-request-id"]
    assert "server-timing" not in first


def test_start_is_told_once(lender: Lender) -> None:
    client = lender.lend(get("/"), start=FORK)
    timing = client.response()[1]["server-timing"]
    assert timing.startswith('start;desc="fork";dur=')
    client.send(get("/"))
    assert "server-timing" not in client.response()[1]


def test_apps_own_headers_replace_ours(lender: Lender) -> None:
    _, headers, _ = lender.lend(get("/own-id")).response()
    assert headers["x-request-id"] == "mine"
    assert headers["server"] == "app"


def test_trusted_peers_request_id_and_addresses(lender: Lender) -> None:
    request = get("/scope", "X-Request-Id: abc", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")
    _, headers, body = lender.lend(request).response()
    scope = json.loads(body)
    assert headers["x-request-id"] == "abc"
    assert scope["client"][0] == "203.0.113.9"
    assert scope["scheme"] == "https"


def test_request_id_is_visible_to_the_app(lender: Lender) -> None:
    _, headers, body = lender.lend(get("/who")).response()
    assert body.decode().split(" ")[1] == headers["x-request-id"]


def test_scope(lender: Lender) -> None:
    client = lender.lend(get("/a%20b/%C3%A9?q=%20x", "Cookie: a=b"))
    client.response()
    client.send(get("/scope?x=1&y=%20"))
    scope = json.loads(client.response()[2])
    assert scope["http_version"] == "1.1"
    assert scope["query_string"] == "x=1&y=%20"
    assert scope["state"] == ["kept"]
    assert scope["headers"] == [["host", "a.example"]]
    assert scope["client"] == list(client.sock.getsockname())
    assert scope["server"] == list(client.sock.getpeername())


def test_pipelined_requests_are_answered_in_order(lender: Lender) -> None:
    requests = get("/slow") + post("/echo", b"two") + get("/stream") + get("/")
    client = lender.lend(requests)
    assert [client.response()[2] for _ in range(4)] == [b"slow", b"two", b"one,two,three", b"hello"]
    assert lender.returned().requests == 4


@pytest.mark.parametrize("cut", [1, 20, 40, 60])
def test_pipelining_over_any_split(lender: Lender, cut: int) -> None:
    requests = get("/slow") + get("/")
    client = lender.lend(get("/"))
    client.response()
    client.send(requests[:cut])
    back = None
    if cut < len(get("/slow")):
        back = lender.returned()
        assert (back.how, back.leftover) == (KEEP, requests[:cut])
        lender.lend_again(lender.held[1], back.leftover + requests[cut:])
    else:
        client.send(requests[cut:])
    assert [client.response()[2] for _ in range(2)] == [b"slow", b"hello"]


def test_loan_for_one_request_gives_pipelined_bytes_back(lender: Lender) -> None:
    client = lender.lend(get("/") + get("/stream")[:10], sticky=False)
    client.response()
    back = lender.returned()
    assert (back.how, back.leftover) == (KEEP, get("/stream")[:10])


def test_partial_head_behind_a_request_goes_back(lender: Lender) -> None:
    client = lender.lend(get("/") + b"GET /part")
    client.response()
    back = lender.returned()
    assert (back.how, back.leftover) == (KEEP, b"GET /part")


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 70000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 70000,
    ],
)
def test_heads_that_no_app_may_see_go_back(lender: Lender, raw: bytes) -> None:
    lender.lend(raw)
    back = lender.returned()
    assert (back.how, back.leftover, back.requests) == (RETRY, raw, 0)


def test_bad_head_on_a_later_request_goes_back(lender: Lender) -> None:
    client = lender.lend(get("/"))
    client.response()
    client.send(b"BAD\r\n\r\n")
    back = lender.returned()
    assert (back.how, back.leftover, back.requests) == (RETRY, b"BAD\r\n\r\n", 1)


def test_known_body_over_the_limit_goes_back_and_chunked_is_refused() -> None:
    with Lender(menu, max_body=10) as lender:
        request = post("/echo", b"x" * 11)
        lender.lend(request)
        back = lender.returned()
        assert (back.how, back.leftover) == (RETRY, request)
        chunked = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n"
        client = lender.lend(chunked)
        client.send(b"8\r\n12345678\r\n")
        status, _, body = client.response()
        assert status == 413
        assert json.loads(body)["error"]["code"] == "body_too_large"
        assert lender.returned(2).how == END


ROUTES = [
    {"host": None, "prefix": "/app", "function": "app"},
    {"host": None, "prefix": "/other", "function": "other"},
    {"host": "b.example", "prefix": "", "function": "app"},
]


def test_each_request_is_checked_against_the_routes() -> None:
    with Lender(menu, routes=ROUTES) as lender:
        client = lender.lend(get("/app/x") + get("/other/y") + get("/app/z"))
        assert client.response()[0] == 200
        back = lender.returned()
        assert (back.how, back.leftover) == (RETRY, get("/other/y") + get("/app/z"))
        lender.lend(get("/elsewhere"))
        assert lender.returned(2).how == RETRY


def test_mount_prefix_is_the_root_path() -> None:

    with Lender(describe, routes=ROUTES) as lender:
        client = lender.lend(get("/app/x"))
        scope = json.loads(client.response()[2])
        assert (scope["root_path"], scope["path"]) == ("/app", "/app/x")


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_body_in_pieces(lender: Lender, step: int) -> None:
    body = bytes(range(256)) * 4
    request = post("/echo", body)
    end = request.index(b"\r\n\r\n") + 4
    client = lender.lend(request[: end + 3])
    for at in range(end + 3, len(request), step):
        client.send(request[at : at + step])
    assert client.response()[2] == body


def test_chunked_request_and_next_one_in_the_same_bytes(lender: Lender) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = lender.lend(head + b"3\r\nabc\r\n")
    client.send(b"4\r\ndefg\r\n0\r\n\r\n" + get("/"))
    assert client.response()[2] == b"abcdefg"
    assert client.response()[2] == b"hello"


def test_malformed_chunk_is_answered(lender: Lender) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = lender.lend(head + b"zz\r\n")
    assert client.response()[0] == 400
    assert lender.returned().how == END


def test_large_upload_streams(lender: Lender) -> None:
    size = 8 << 20
    client = lender.lend(f"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())
    client.send(bytes(size))
    assert client.response()[2] == str(size).encode()
    client.send(get("/"))
    assert client.response()[2] == b"hello"
    back = lender.returned()
    assert back.consumed == size + len(get("/"))


def test_large_download_to_a_late_reader(lender: Lender) -> None:
    client = lender.lend(get("/big") + get("/"))
    assert len(client.response()[2]) == 16 << 20
    assert client.response()[2] == b"hello"
    assert lender.returned().how == KEEP


def test_expect_continue(lender: Lender) -> None:
    request = post("/echo", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 4")
    client = lender.lend(request)
    assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"body")
    assert client.response()[2] == b"body"


def test_unanswered_expect_ends_the_connection(lender: Lender) -> None:
    request = post("/early", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 4")
    client = lender.lend(request)
    status, headers, _ = client.response()
    assert (status, headers["connection"]) == (413, "close")
    back = lender.returned()
    assert (back.how, back.clean) == (END, False)


def test_body_nobody_reads_is_swallowed_when_short(lender: Lender) -> None:
    request = post("/early", bytes(1000))
    client = lender.lend(request[:-500])
    assert client.response()[0] == 413
    client.send(request[-500:] + get("/"))
    assert client.response()[2] == b"hello"


@pytest.mark.parametrize("sticky", [True, False])
def test_chunks_nobody_reads_are_swallowed_when_few(lender: Lender, sticky: bool) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = lender.lend(head + b"3\r\na", sticky=sticky)
    assert client.response()[0] == 413
    client.send(b"bc\r\n0\r\n")
    client.send(b"\r\n")
    if sticky:
        client.send(get("/"))
        assert client.response()[2] == b"hello"
    else:
        assert lender.returned().how == KEEP


def test_many_chunks_nobody_reads_end_the_connection(lender: Lender) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = lender.lend(head)
    assert client.response()[0] == 413
    client.send(b"fffff\r\n" + bytes(500_000))
    back = lender.returned()
    assert (back.how, back.clean) == (END, False)


def test_body_nobody_reads_is_not_waited_for(lender: Lender) -> None:
    client = lender.lend(post("/early", bytes(1000))[:-500])
    assert client.response()[0] == 413
    back = lender.returned()
    assert (back.how, back.clean) == (END, False)


def test_much_is_pipelined(lender: Lender) -> None:
    requests = get("/slow") + get("/", "X-Long: " + "x" * 30000) * 20
    client = lender.lend(requests[:100_000], sticky=True)
    client.send(requests[100_000:] + get("/empty"))
    assert [client.response()[2] for _ in range(21)] == [b"slow"] + [b"hello"] * 20
    assert client.response()[0] == 204


def test_much_is_pipelined_on_a_loan_for_one_request(lender: Lender) -> None:
    requests = get("/slow") + get("/", "X-Long: " + "x" * 30000) * 20
    client = lender.lend(requests[:100_000], sticky=False)
    client.send(requests[100_000:])
    assert client.response()[2] == b"slow"
    back = lender.returned()
    assert len(back.leftover) <= fds.MAX_MESSAGE - 4096
    assert back.leftover == requests[len(get("/slow")) : 100_000 + back.consumed]
    assert back.how == KEEP


def test_long_unread_body_ends_the_connection(lender: Lender) -> None:
    client = lender.lend(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    assert client.response()[0] == 413
    back = lender.returned()
    assert (back.how, back.clean) == (END, False)


def test_head_request(lender: Lender) -> None:
    client = lender.lend(get("/").replace(b"GET", b"HEAD"))
    status, headers, _ = client.response(head_only=True)
    assert (status, headers["content-length"]) == (200, "5")
    client.send(get("/empty"))
    assert client.response()[0] == 204
    client.send(get("/"))
    assert client.response()[2] == b"hello"


def test_chunked_response(lender: Lender) -> None:
    client = lender.lend(get("/stream"))
    status, headers, body = client.response()
    assert headers["transfer-encoding"] == "chunked"
    assert body == b"one,two,three"


def test_response_head_does_not_wait_for_the_body(lender: Lender) -> None:
    client = lender.lend(get("/head-first"))
    assert client.head()[0] == 200


def test_http_10(lender: Lender) -> None:
    client = lender.lend(b"GET / HTTP/1.0\r\n\r\n")
    status, headers, body = client.response()
    assert (headers["connection"], body) == ("close", b"hello")
    back = lender.returned()
    assert (back.how, back.clean) == (END, True)


def test_http_10_gets_no_chunks(lender: Lender) -> None:
    client = lender.lend(b"GET /stream HTTP/1.0\r\n\r\n")
    assert "transfer-encoding" not in client.head()[1]
    assert lender.returned().how == END
    lender.end(1)
    assert client.everything() == b"one,two,three"


def test_connection_close(lender: Lender) -> None:
    client = lender.lend(get("/", "Connection: close"))
    assert client.response()[1]["connection"] == "close"
    assert lender.returned().how == END


def test_crash_before_the_first_byte(lender: Lender) -> None:
    client = lender.lend(get("/crash"))
    status, headers, body = client.response()
    assert (status, body) == (500, b"Internal Server Error")
    assert "x-request-id" in headers
    assert lender.returned().how == END
    assert "ValueError: deliberate" in lender.errors()


def test_crash_after_the_first_byte_cuts_the_response(lender: Lender) -> None:
    client = lender.lend(get("/crash-late"))
    assert lender.returned().how == END
    lender.end(1)
    assert client.everything().endswith(b"4\r\npart\r\n")


@pytest.mark.parametrize("path", ["/bad-header", "/no-answer", "/exit"])
def test_other_app_mistakes_are_a_500(lender: Lender, path: str) -> None:
    client = lender.lend(get(path))
    assert client.response()[0] == 500
    client = lender.lend(get("/"))
    assert client.response()[0] == 200


def test_half_closed_client_gets_its_answer(lender: Lender) -> None:
    client = lender.lend(get("/slow") + get("/"))
    client.half_close()
    assert client.response()[2] == b"slow"
    assert client.response()[2] == b"hello"
    back = lender.returned()
    assert (back.how, back.clean) == (END, True)


def test_closed_side_is_told_to_a_waiting_app_and_answered(lender: Lender) -> None:
    client = lender.lend(get("/wait"))
    client.half_close()
    assert client.response()[2] == b"late"
    assert "saw disconnect" in lender.errors()


def test_client_that_leaves_a_stream_is_noticed(lender: Lender) -> None:
    client = lender.lend(get("/events"))
    client.until(b"first\n\n")
    client.close()
    lender.returned()
    lender.wait_word(page.W_BUSY, 0)
    assert "client left" in lender.errors()


def test_end_of_input_within_a_body(lender: Lender) -> None:
    client = lender.lend(post("/echo", b"whole")[:-2])
    client.half_close()
    assert lender.returned().how == END
    lender.wait_word(page.W_BUSY, 0)


def test_unix_socket_is_never_marked_idle() -> None:
    with Lender(menu, unix=True) as lender:
        client = lender.lend(get("/scope"))
        assert json.loads(client.response()[2])["client"] is None
        lender.wait_word(page.W_BUSY, 0)
        assert lender.word(page.W_SLOTS + page.S_STATE) == page.BEGUN
        assert lender.returned().how == KEEP


@pytest.mark.parametrize("path", ["/", "/events", "/wait", "/big"])
def test_client_that_resets_before_it_is_served(lender: Lender, path: str) -> None:
    os.kill(lender.pid, signal.SIGSTOP)
    client = lender.lend(get(path))
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    os.kill(lender.pid, signal.SIGCONT)
    assert lender.returned().how in (KEEP, END)
    lender.wait_word(page.W_BUSY, 0)
    assert lender.lend(get("/")).response()[2] == b"hello"
