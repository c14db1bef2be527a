"""Every limit, on first and later requests of a connection, for clients that send before they read."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from load import read_answer
from server import Serve

APPS = Path(__file__).resolve().parents[1] / "apps"
INTERFACES = ["wsgi_app:app", "asgi_app:app"]
HOST = b"Host: a.example\r\n"
EIGHT_MB = 8 * 1024 * 1024

LIMITS = (
    "--max-body=100KB",
    "--head-size=8KB",
    "--head-timeout=0.5",
    "--timeout=1",
    "--max-instances=1",
    "--spares=0",
    "--queue-size=1",
    "--queue-timeout=0.5",
)


@pytest.fixture(scope="module", params=[*INTERFACES, "wsgi_app:app over a Unix socket"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    target, _, over = request.param.partition(" ")
    words = (f"--uds={tmp_path_factory.mktemp('uds') / 'http'}",) if over else ()
    with Serve(target, *LIMITS, "--concurrency=1", *words, app_dir=APPS) as running:
        yield running


@pytest.fixture(scope="module")
def mounted() -> Iterator[Serve]:
    with Serve("shop=wsgi_app:app", "--mount=/shop=shop", *LIMITS, app_dir=APPS) as running:
        yield running


def first(server: Serve) -> socket.socket:
    """A new connection."""
    return server.raw()


def later(server: Serve) -> socket.socket:
    """A connection on which a request has been answered."""
    sock = server.raw()
    prefix = server.function()["routes"][0]["prefix"].encode()
    sock.sendall(b"GET " + prefix + b"/ HTTP/1.1\r\n" + HOST + b"\r\n")
    answer = read_answer(sock.makefile("rb"))
    assert answer is not None
    assert answer[0] == 200
    return sock


WHEN = pytest.mark.parametrize("connect", [first, later])


def refused(sock: socket.socket, sent: bytes) -> tuple[int, str]:
    """(status, error code) of the answer to `sent`, after which the connection ends."""
    sock.sendall(sent)
    return final_error(sock)


def final_error(sock: socket.socket) -> tuple[int, str]:
    stream = sock.makefile("rb")
    answer = read_answer(stream)
    assert answer is not None
    status, headers, body = answer
    error = json.loads(body)["error"]
    assert error["request_id"] == headers[b"x-request-id"].decode()
    assert error["message"]
    assert headers[b"connection"] == b"close"
    assert stream.read() == b""
    sock.close()
    return status, error["code"]


POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
BAD = {
    "no request line": b"nonsense\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "length and chunked": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "signed length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n",
    "chunked in 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@WHEN
@pytest.mark.parametrize("sent", BAD.values(), ids=BAD.keys())
def test_malformed_or_ambiguous_is_400(
    server: Serve, connect: Callable[[Serve], socket.socket], sent: bytes
) -> None:
    assert refused(connect(server), sent) == (400, "bad_request")


@WHEN
def test_a_bad_chunk_is_400(server: Serve, connect: Callable[[Serve], socket.socket]) -> None:
    head = b"POST /upload HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    assert refused(connect(server), head + b"zz\r\nab\r\n0\r\n\r\n") == (400, "bad_request")


@WHEN
def test_what_is_not_spoken_here(server: Serve, connect: Callable[[Serve], socket.socket]) -> None:
    coding = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"
    assert refused(connect(server), coding)[0] == 501
    assert refused(connect(server), b"GET / HTTP/2.0\r\n" + HOST + b"\r\n")[0] == 505


@WHEN
def test_a_large_head_is_431(server: Serve, connect: Callable[[Serve], socket.socket]) -> None:
    large = b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 9000 + b"\r\n\r\n"
    assert refused(connect(server), large) == (431, "head_too_large")
    endless = b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * EIGHT_MB
    assert refused(connect(server), endless) == (431, "head_too_large")


@WHEN
def test_a_slow_head_is_408(server: Serve, connect: Callable[[Serve], socket.socket]) -> None:
    assert refused(connect(server), b"GET / HTTP/1.1\r\nHost: a") == (408, "request_timeout")


@WHEN
def test_a_large_body_is_413(server: Serve, connect: Callable[[Serve], socket.socket]) -> None:
    known = b"POST /upload HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % EIGHT_MB
    assert refused(connect(server), known + b"x" * EIGHT_MB) == (413, "body_too_large")
    chunked = b"POST /upload HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    body = piece * (EIGHT_MB // 65536) + b"0\r\n\r\n"
    assert refused(connect(server), chunked + body) == (413, "body_too_large")


@WHEN
def test_a_path_without_a_function_is_404(mounted: Serve, connect: Callable[[Serve], socket.socket]) -> None:
    assert refused(connect(mounted), b"GET /else HTTP/1.1\r\n" + HOST + b"\r\n") == (404, "no_such_route")
    upload = b"POST /else HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % EIGHT_MB
    assert refused(connect(mounted), upload + b"x" * EIGHT_MB) == (404, "no_such_route")


LONG = b"Content-Length: %d\r\n" % EIGHT_MB
WITH_MUCH_BEHIND = {
    400: b"POST / HTTP/1.1\r\n" + HOST + LONG + LONG + b"\r\n",
    431: b"POST / HTTP/1.1\r\n" + HOST + LONG + b"X: " + b"x" * 9000 + b"\r\n\r\n",
    501: b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    505: b"POST / HTTP/2.0\r\n" + HOST + LONG + b"\r\n",
}


@WHEN
@pytest.mark.parametrize("status", WITH_MUCH_BEHIND)
def test_refusals_are_read_whole(
    server: Serve, connect: Callable[[Serve], socket.socket], status: int
) -> None:
    """By a client that sends 8 MB before it reads, as all are below."""
    assert refused(connect(server), WITH_MUCH_BEHIND[status] + b"x" * EIGHT_MB)[0] == status


@WHEN
def test_a_408_is_read_whole(server: Serve, connect: Callable[[Serve], socket.socket]) -> None:
    sock = connect(server)
    sock.sendall(b"POST / HTTP/1.1\r\n" + HOST)
    assert sock.recv(1, socket.MSG_PEEK)  # its answer is there: now the rest comes after all
    sock.sendall(LONG + b"\r\n" + b"x" * EIGHT_MB)
    assert final_error(sock) == (408, "request_timeout")


def begun(function: dict[str, Any]) -> int:
    return sum(one["requests"] for one in function["instances"])


@WHEN
def test_too_many_requests_are_429(server: Serve, connect: Callable[[Serve], socket.socket]) -> None:
    """One runs, one waits until that has lasted too long, one more finds the queue full."""
    busy, waiting, full = connect(server), connect(server), connect(server)
    upload = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n800000\r\n"
    before = begun(server.function())
    busy.sendall(b"GET /slow?seconds=0.9 HTTP/1.1\r\n" + HOST + b"\r\n")
    server.wait_until(lambda one: begun(one) > before)
    waiting.sendall(upload)
    server.wait_until(lambda one: one["queue"]["length"] == 1)
    for sock, sent in ((full, upload), (waiting, b"")):
        sock.sendall(sent + b"x" * EIGHT_MB)
        answer = read_answer(sock.makefile("rb"))
        assert answer is not None
        assert (answer[0], int(answer[1][b"retry-after"])) == (429, 1)
        assert json.loads(answer[2])["error"]["code"] == "too_many_requests"
    assert read_answer(busy.makefile("rb"))
    for sock in (busy, waiting, full):
        sock.close()


@WHEN
def test_errors_of_head_requests_have_no_body(
    mounted: Serve, connect: Callable[[Serve], socket.socket]
) -> None:
    late, lost = (connect(mounted) for _ in range(2))
    late.sendall(b"HEAD /shop/slow?seconds=50 HTTP/1.1\r\n" + HOST + b"\r\n")
    lost.sendall(b"HEAD /else HTTP/1.1\r\n" + HOST + b"\r\n")
    for sock, status in ((lost, b"404"), (late, b"504")):
        answer = sock.makefile("rb").read()
        assert answer.split(b" ")[1] == status
        assert answer.endswith(b"\r\n\r\n")
        assert answer.count(b"\r\n\r\n") == 1
        sock.close()


def uploading(sock: socket.socket, path: bytes) -> tuple[int, str]:
    """Send 8 MB to a request whose answer is an error, and only then read."""
    sock.sendall(b"POST " + path + b" HTTP/1.1\r\n" + HOST + LONG + b"\r\n" + b"x" * EIGHT_MB)
    return final_error(sock)


@WHEN
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("target", INTERFACES)
def test_timeouts_and_deaths_are_read_whole(
    target: str, concurrency: int, connect: Callable[[Serve], socket.socket]
) -> None:
    words = ("--timeout=1", f"--concurrency={concurrency}", "--spares=0")
    with Serve(target, *words, app_dir=APPS) as server:
        assert uploading(connect(server), b"/slow?seconds=50") == (504, "timeout")
        assert uploading(connect(server), b"/crash") == (502, "instance_died")
        deaths = server.wait_until(lambda one: one["deaths"].get("exit 7"))["deaths"]
        assert deaths.get("exit 7") == 1
        assert concurrency > 1 or deaths.get("timeout") == 1


@WHEN
@pytest.mark.parametrize("target", INTERFACES)
def test_too_much_memory_is_507(target: str, connect: Callable[[Serve], socket.socket]) -> None:
    with Serve(target, "--memory=200MB", "--spares=0", app_dir=APPS) as server:
        assert uploading(connect(server), b"/grow?mb=300&seconds=50") == (507, "out_of_memory")
        assert server.get("/").status == 200
        server.wait_until(lambda one: one["deaths"] == {"memory": 1})


def test_a_killed_instance_is_502_with_the_id_of_its_request() -> None:
    with Serve("wsgi_app:app", "--spares=0", app_dir=APPS) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.get, "/slow?seconds=50")
        busy = server.wait_until(lambda one: any(i["state"] == "busy" for i in one["instances"]))
        os.kill(busy["instances"][0]["pid"], signal.SIGKILL)
        answer = asked.result()
        assert answer.status == 502
        assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("target", INTERFACES)
def test_a_trusted_peers_request_id_is_kept(target: str) -> None:
    given = {"X-Request-Id": "order-66"}
    with Serve(target, app_dir=APPS) as server:
        assert server.get("/", given).headers["x-request-id"] == "order-66"
        own = [server.get("/").headers["x-request-id"] for _ in range(3)]
        assert len(set(own)) == 3
    with Serve(target, "--trusted-proxies=10.0.0.1", app_dir=APPS) as server:
        assert server.get("/", given).headers["x-request-id"] != "order-66"


def test_an_instance_out_of_descriptors_gives_its_loans_back_and_leaves() -> None:
    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    with Serve("asgi_app:app", "--max-instances=1", "--spares=0", app_dir=APPS, preexec=few_files) as server:
        kept = server.client()
        full = kept.ask("GET", "/leak").text
        others = [server.get("/pid") for _ in range(3)]
        assert [one.status for one in others] == [200] * 3
        assert full not in [one.text for one in others]
        server.wait_for("out of file descriptors .* this instance leaves")
        kept.close()


def test_a_gateway_out_of_descriptors_lets_requests_wait() -> None:
    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    words = ("--spares=0", "--max-instances=4", "--no-access-log")
    with Serve("wsgi_app:app", *words, app_dir=APPS, preexec=few_files) as server:
        held = [server.raw() for _ in range(32)]
        with ThreadPoolExecutor(1) as pool:
            asked = [pool.submit(server.get, "/pid")]
            server.wait_for("out of file descriptors")
            for one in held:
                one.close()
            assert [one.result().status for one in asked] == [200]
        assert server.stop() == 0
