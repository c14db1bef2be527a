"""HTTP of the WSGI loops, as raw bytes: one table for the blocking loop and for threads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from snapfork.runner.processes.link import END, FORK, KEEP
from wsgiapps import BAD, FILE_SIZE, menu
from wsgiserved import WsgiGateway

GET = b"GET %s HTTP/1.1\r\nHost: app.example\r\n%s\r\n"


def get(path: bytes, *headers: bytes) -> bytes:
    return GET % (path, b"".join(line + b"\r\n" for line in headers))


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"POST" + get(path, length, *headers)[3:] + body


@pytest.fixture(scope="module", params=[1, 4], ids=["loop", "threads"])
def gateway(request: pytest.FixtureRequest) -> Iterator[WsgiGateway]:
    with WsgiGateway(menu, concurrency=request.param) as one:
        yield one


def ask(gateway: WsgiGateway, raw: bytes, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own, which must go on living after it."""
    client = gateway.lend(raw)
    answer = client.response(head_only)
    gateway.next_request(get(b"/hello?again"))
    assert client.response()[2] == b"hello again"
    client.close()
    return answer


def ask_last(gateway: WsgiGateway, raw: bytes) -> tuple[bytes, Any]:
    """One request after which the connection is over: its bytes, and the loan's return."""
    client = gateway.lend(raw)
    back = gateway.return_of(gateway.number)
    assert back.how == END
    gateway.end(back.id)
    return client.everything(), back


def environ(gateway: WsgiGateway, raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(gateway, raw)[2])
    return found


# -- environ ---------------------------------------------------------------------------------------------


def test_environ(gateway: WsgiGateway) -> None:
    client = gateway.lend(
        get(b"/describe/caf%C3%A9?a=%20b", b"X-A: 1", b"x-a: 2", b"Cookie: a=1", b"Cookie: b=2")
    )
    port = client.sock.getsockname()[1]
    found = json.loads(client.response()[2])
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/describe/caf\u00c3\u00a9",
        "QUERY_STRING": "a=%20b",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(gateway.listener.getsockname()[1]),
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": str(port),
        "HTTP_HOST": "app.example",
        "HTTP_X_A": "1,2",
        "HTTP_COOKIE": "a=1;b=2",
        "wsgi.url_scheme": "http",
        "wsgi.version": [1, 0],
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    assert expected.items() <= found.items()
    assert "CONTENT_LENGTH" not in found and "CONTENT_TYPE" not in found and "snapfork.warm_up" not in found


def test_content_headers(gateway: WsgiGateway) -> None:
    found = environ(gateway, post(b"/describe", b"ab", b"Content-Type: text/x"))
    assert (found["CONTENT_LENGTH"], found["CONTENT_TYPE"]) == ("2", "text/x")
    assert "HTTP_CONTENT_LENGTH" not in found


def test_names_with_underscores_cannot_pose_as_others(gateway: WsgiGateway) -> None:
    found = environ(gateway, get(b"/describe", b"X_Forwarded_For: 6.6.6.6", b"Content_Length: 7"))
    assert "HTTP_X_FORWARDED_FOR" not in found and "CONTENT_LENGTH" not in found


def test_a_trusted_proxy_is_believed(gateway: WsgiGateway) -> None:
    lines = (b"X-Forwarded-For: 9.9.9.9", b"X-Forwarded-Proto: https", b"X-Request-Id: from-proxy")
    status, headers, body = ask(gateway, get(b"/describe", *lines))
    found = json.loads(body)
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("9.9.9.9", "https")
    assert headers["x-request-id"] == found["id"] == found["snapfork.request_id"] == "from-proxy"


def test_a_stranger_is_not_believed() -> None:
    with WsgiGateway(menu, trusted=()) as one:
        lines = (b"X-Forwarded-For: 9.9.9.9", b"X-Forwarded-Proto: https", b"X-Request-Id: from-proxy")
        status, headers, body = ask(one, get(b"/describe", *lines))
    found = json.loads(body)
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("127.0.0.1", "http")
    assert headers["x-request-id"] == found["id"] != "from-proxy"


def test_mounted_below_a_prefix() -> None:
    routes = [
        {"host": None, "prefix": "/shop", "function": "app"},
        {"host": None, "prefix": "", "function": "x"},
    ]
    with WsgiGateway(menu, routes=routes) as one:
        found = json.loads(one.lend(get(b"/shop/describe/1")).response()[2])
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/shop", "/describe/1")
        assert one.lend(get(b"/shop?x")).response()[2] == b"hello x"


def test_over_a_unix_socket() -> None:
    with WsgiGateway(menu, unix=True) as one:
        client = one.lend(get(b"/describe"))
        found = json.loads(client.response()[2])
        assert (found["REMOTE_ADDR"], found["SERVER_NAME"], found["SERVER_PORT"]) == ("", "app.example", "80")
        one.next_request(post(b"/echo", b"12345"))
        assert client.response()[2] == b"12345"
        assert '" 200 ' in one.log() and " unix " in one.log()


# -- request bodies --------------------------------------------------------------------------------------


def test_body_in_the_prefix_and_afterwards(gateway: WsgiGateway) -> None:
    assert ask(gateway, post(b"/echo", b"abc"))[2] == b"abc"
    client = gateway.lend(post(b"/echo", b"abcdef")[:-3])
    client.send(b"def" + get(b"/hello?next"))
    assert client.response()[2] == b"abcdef"
    assert client.response()[2] == b"hello next"


def test_every_way_to_read(gateway: WsgiGateway) -> None:
    body = b"ab\ncdefg\nhi\njk\nlm"
    assert ask(gateway, post(b"/readers", body))[2] == b"ab|\n|cde|fg\n|hi\n|jk\n|lm|||"


def chunked(path: bytes, *headers: bytes) -> bytes:
    return b"POST" + get(path, b"Transfer-Encoding: chunked", *headers)[3:]


def test_chunked_body_byte_by_byte(gateway: WsgiGateway) -> None:
    client = gateway.lend(chunked(b"/echo"))
    for byte in b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: 1\r\n\r":
        client.send(bytes([byte]))
    client.send(b"\n" + get(b"/hello?next"))
    assert client.response()[2] == b"abcde"
    assert client.response()[2] == b"hello next"


def test_malformed_chunks_are_400(gateway: WsgiGateway) -> None:
    data, back = ask_last(gateway, chunked(b"/echo") + b"3\r\nabcX")
    assert data.startswith(b"HTTP/1.1 400 ")
    assert json.loads(data.partition(b"\r\n\r\n")[2])["error"]["code"] == "bad_request"


def test_a_chunked_body_above_the_limit_is_413_whatever_the_app_makes_of_it() -> None:
    def app(environ: Any, start: Any) -> list[bytes]:
        try:
            body = environ["wsgi.input"].read()
        except OSError:
            start("500 My Own", [])
            return [b"mine"]
        start("200 OK", [])
        return [body]

    with WsgiGateway(app, max_body=10) as one:
        data, _ = ask_last(one, chunked(b"/") + b"b\r\n01234567890\r\n0\r\n\r\n")
        assert data.startswith(b"HTTP/1.1 413 ") and b'"body_too_large"' in data
        assert one.lend(chunked(b"/") + b"a\r\n0123456789\r\n0\r\n\r\n").response()[2] == b"0123456789"


def test_continue_is_sent_when_the_body_is_first_read(gateway: WsgiGateway) -> None:
    client = gateway.lend(post(b"/echo", b"", b"Expect: 100-continue").replace(b"Length: 0", b"Length: 3"))
    assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert client.response()[2] == b"abc"
    gateway.next_request(get(b"/hello"))
    assert client.response()[0] == 200


def test_continue_is_not_sent_for_a_body_that_is_not_read(gateway: WsgiGateway) -> None:
    raw = post(b"/ignore", b"", b"Expect: 100-continue").replace(b"Length: 0", b"Length: 3")
    data, back = ask_last(gateway, raw)
    assert data.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\nConnection: close\r\n" in data
    assert not back.clean


def test_continue_is_not_sent_when_the_body_is_there(gateway: WsgiGateway) -> None:
    assert ask(gateway, post(b"/echo", b"abc", b"Expect: 100-continue"))[0] == 200


def test_an_unread_body_is_passed_over(gateway: WsgiGateway) -> None:
    assert ask(gateway, post(b"/ignore", b"GET /boom HTTP/1.1\r\nHost: x\r\n\r\n"))[2] == b"ignored"
    assert ask(gateway, chunked(b"/ignore") + b"3\r\nabc\r\n0\r\n\r\n")[2] == b"ignored"


def test_an_unread_body_may_come_after_its_answer(gateway: WsgiGateway) -> None:
    client = gateway.lend(chunked(b"/ignore") + b"3\r\na")
    assert client.response()[2] == b"ignored"
    client.send(b"bc\r\n0\r\n")
    client.send(b"\r\n")
    gateway.next_request(get(b"/hello?again"))
    assert client.response()[2] == b"hello again"


def test_an_unread_body_that_does_not_come_ends_the_connection(gateway: WsgiGateway) -> None:
    data, back = ask_last(gateway, post(b"/ignore", b"").replace(b"Length: 0", b"Length: 3"))
    assert data.endswith(b"ignored") and not back.clean


def test_full_duplex(gateway: WsgiGateway) -> None:
    client = gateway.lend(chunked(b"/duplex"))
    client.head()
    assert client.until(b"ready\r\n") == b"5\r\nready\r\n"
    for letter in (b"a", b"b"):
        client.send(b"1\r\n" + letter + b"\r\n")
        assert client.until(b"\r\n" + letter + b"\r\n") == b"1\r\n" + letter + b"\r\n"
    client.send(b"0\r\n\r\n")
    assert client.until(b"0\r\n\r\n") == b"0\r\n\r\n"


# -- responses -------------------------------------------------------------------------------------------


def test_head_of_a_response(gateway: WsgiGateway) -> None:
    status, headers, body = ask(gateway, get(b"/hello"))
    assert (status, body) == (200, b"hello ")
    assert headers.pop("date").endswith("GMT") and headers.pop("x-request-id").startswith("0123abcd-")
    assert headers == {"server": "snapfork", "content-type": "text/plain", "content-length": "6"}


@pytest.mark.parametrize(
    ("path", "status", "framing", "body"),
    [
        (b"/two", 200, "chunked", b"onetwo"),
        (b"/late", 201, "chunked", b"late"),
        (b"/empty", 200, "0", b""),
        (b"/emptystream", 200, "0", b""),
        (b"/write", 200, "chunked", b"written returned"),
        (b"/writelength", 200, "4", b"abcd"),
        (b"/replaced", 503, "5", b"sorry"),
        (b"/more", 200, "4", b"1234"),
        (b"/hops", 200, "2", b"ok"),
        (b"/closing", 200, "chunked", b"ab"),
    ],
)
def test_framing(gateway: WsgiGateway, path: bytes, status: int, framing: str, body: bytes) -> None:
    found, headers, content = ask(gateway, get(path))
    assert (found, content) == (status, body)
    assert headers.get("content-length", headers.get("transfer-encoding")) == framing
    assert "keep-alive" not in headers and "upgrade" not in headers and "x-first" not in headers


@pytest.mark.parametrize("path", [b"/hello", b"/two", b"/fewer", b"/file/whole", b"/empty", b"/writelength"])
def test_head_has_no_body(gateway: WsgiGateway, path: bytes) -> None:
    status, headers, _ = ask(gateway, b"HEAD" + get(path)[3:], head_only=True)
    lengths = {b"/hello": "6", b"/file/whole": str(FILE_SIZE), b"/fewer": "4", b"/writelength": "4"}
    assert (status, headers.get("content-length")) == (200, lengths.get(path))
    assert "transfer-encoding" not in headers


@pytest.mark.parametrize(("status", "length"), [(204, None), (304, "4")])
def test_statuses_without_a_body(gateway: WsgiGateway, status: int, length: str | None) -> None:
    found, headers, _ = ask(gateway, get(b"/status/%d" % status))
    assert (found, headers.get("content-length")) == (status, length)
    assert "transfer-encoding" not in headers


def test_http_1_0(gateway: WsgiGateway) -> None:
    data, back = ask_last(gateway, b"GET /two HTTP/1.0\r\n\r\n")
    head, _, body = data.partition(b"\r\n\r\n")
    assert body == b"onetwo" and b"Transfer-Encoding" not in head and b"Connection: close" in head
    assert back.clean
    keeping = b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert ask(gateway, keeping)[1]["connection"] == "keep-alive"
    data, _ = ask_last(gateway, b"GET /two HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert data.endswith(b"onetwo")


@pytest.mark.parametrize("raw", [get(b"/hello", b"Connection: close"), get(b"/close")])
def test_connections_that_are_closed(gateway: WsgiGateway, raw: bytes) -> None:
    data, back = ask_last(gateway, raw)
    assert b"\r\nConnection: close\r\n" in data and back.clean and back.leftover == b""


def test_fewer_bytes_than_declared_end_the_connection(gateway: WsgiGateway) -> None:
    data, _ = ask_last(gateway, get(b"/fewer"))
    assert data.endswith(b"\r\n\r\n12")


def test_headers_of_the_app_win(gateway: WsgiGateway) -> None:
    client = gateway.lend(get(b"/own"))
    lines = client.until(b"\r\n\r\n").lower().split(b"\r\n")
    assert lines.count(b"server: mine") == 1 and lines.count(b"x-request-id: app") == 1
    assert b"set-cookie: a=1" in lines and b"set-cookie: b=2" in lines
    names = [line.partition(b":")[0] for line in lines]
    assert [names.count(name) for name in (b"server", b"date", b"x-request-id")] == [1, 1, 1]


@pytest.mark.parametrize(
    "path", ["/boom", "/nostart", "/twice", "/text", "/goodbye", *(f"/bad/{one}" for one in BAD)]
)
def test_errors_before_the_first_byte_are_500(gateway: WsgiGateway, path: str) -> None:
    before = gateway.errors().count("Traceback")
    data, back = ask_last(gateway, get(path.encode()))
    assert data.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert data.endswith(b"\r\n\r\nInternal Server Error") and b"X-B" not in data
    assert gateway.errors().count("Traceback") == before + 1


@pytest.mark.parametrize("path", [b"/boomlate", b"/replacedlate"])
def test_errors_after_the_first_byte_cut_the_connection(gateway: WsgiGateway, path: bytes) -> None:
    data, _ = ask_last(gateway, get(path))
    assert data.endswith(b"5\r\nbegun\r\n")


def test_an_error_in_close_comes_after_the_answer(gateway: WsgiGateway) -> None:
    data, _ = ask_last(gateway, get(b"/boomclose"))
    assert data.endswith(b"0\r\n\r\n") and "boom in close" in gateway.errors()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (b"/file/whole", b"0123456789" * (FILE_SIZE // 10)),
        (b"/file/part", (b"0123456789" * (FILE_SIZE // 10))[7:]),
        (b"/file/part?5", b"78901"),
        (b"/file/empty", b""),
        (b"/file/memory", b"in memory"),
        (b"/file/zip", b"unzipped" * 1000),
    ],
)
def test_file_wrapper(gateway: WsgiGateway, path: bytes, body: bytes) -> None:
    assert ask(gateway, get(path))[2] == body


def test_a_file_shorter_than_declared_ends_the_connection(gateway: WsgiGateway) -> None:
    data, _ = ask_last(gateway, get(b"/file/whole?%d" % (FILE_SIZE + 1)))
    assert len(data.partition(b"\r\n\r\n")[2]) == FILE_SIZE


@pytest.mark.parametrize("path", [b"/big", b"/big?chunked"])
def test_a_response_larger_than_the_buffers(gateway: WsgiGateway, path: bytes) -> None:
    assert ask(gateway, get(path))[2] == b"0123456789" * 2_000_000


# -- connections -----------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(gateway: WsgiGateway) -> None:
    client = gateway.lend(
        get(b"/hello?1") + post(b"/echo", b"GET / HTTP/1.1\r\n\r\n") + get(b"/two") + get(b"/hello?2")[:9]
    )
    assert client.response()[2] == b"hello 1"
    assert client.response()[2] == b"GET / HTTP/1.1\r\n\r\n"
    assert client.response()[2] == b"onetwo"


def test_empty_lines_between_requests(gateway: WsgiGateway) -> None:
    client = gateway.lend(get(b"/hello?1") + b"\r\n" + get(b"/hello?2") + b"\r\n\n")
    assert client.response()[2] == b"hello 1"
    assert client.response()[2] == b"hello 2"
    gateway.next_request(get(b"/hello?3"))
    assert client.response()[2] == b"hello 3"


def test_a_half_closed_client_gets_its_answer(gateway: WsgiGateway) -> None:
    client, accepted = gateway.connect()
    client.half_close()
    gateway.lend_again(accepted, get(b"/two"))
    assert client.response()[2] == b"onetwo"


def test_request_ids_are_of_run_loan_and_request(gateway: WsgiGateway) -> None:
    client = gateway.lend(get(b"/hello") + get(b"/hello"))
    ids = [client.response()[1]["x-request-id"] for _ in range(2)]
    assert ids == [f"0123abcd-{gateway.number:x}-{seq}" for seq in (0, 1)]


def test_start_kind_is_told_once(gateway: WsgiGateway) -> None:
    client, accepted = gateway.connect()
    gateway.lend_again(accepted, get(b"/own") + get(b"/hello"), start=FORK, t0_ns=time.monotonic_ns())
    assert b'\r\nServer-Timing: start;desc="fork";dur=' in client.until(b"\r\n\r\nok")
    assert "server-timing" not in client.response()[1]


def test_close_is_called_when_the_client_goes(gateway: WsgiGateway) -> None:
    before = gateway.errors().count("closed\n")
    client = gateway.lend(get(b"/endless"))
    client.head()
    client.close()
    assert gateway.return_of(gateway.number).how == END
    assert gateway.errors().count("closed\n") == before + 1


def test_a_client_that_resets_before_its_body_is_read(gateway: WsgiGateway) -> None:
    client = gateway.lend(post(b"/echo", b"").replace(b"Length: 0", b"Length: 9"))
    client.half_close()
    assert client.response()[2] == b""


def test_keep_after_a_moment_without_bytes(gateway: WsgiGateway) -> None:
    client = gateway.lend(get(b"/hello"))
    client.response()
    back = gateway.return_of(gateway.number)
    assert (back.how, back.leftover, back.requests) == (KEEP, b"", 1)
