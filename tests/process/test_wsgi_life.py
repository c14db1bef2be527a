"""Loans of the WSGI loops: how they come back, what the page says, and how an instance leaves."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import wsgiapps
from minigateway import Client
from snapfork.runner.processes import wsgi_conversation, wsgi_loop, wsgi_threads, wsgi_wire
from snapfork.runner.processes.link import END, KEEP, RETRY
from snapfork.runner.wire import page
from wsgiapps import menu
from wsgiserved import WsgiGateway

GET = b"GET /hello?%s HTTP/1.1\r\nHost: app.example\r\n\r\n"
A, B = GET % b"a", GET % b"b"
POST = b"POST /echo HTTP/1.1\r\nHost: app.example\r\nContent-Length: 3\r\n\r\n"
LONG_MS = 30_000

both = pytest.mark.parametrize("concurrency", [1, 4], ids=["loop", "threads"])


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instances wait for the next request of a connection for longer than a test lasts."""
    monkeypatch.setattr(wsgi_loop, "LINGER_MS", LONG_MS)
    monkeypatch.setattr(wsgi_threads, "LINGER_MS", LONG_MS)


def path_gate(word: bytes) -> bytes:
    return b"GET /gate?%s HTTP/1.1\r\nHost: app.example\r\n\r\n" % word


def wait_for(found: Callable[[], object]) -> None:
    """Wait for what another process writes into memory or a file: nothing announces it."""
    deadline = time.monotonic() + 150
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def slot(gateway: WsgiGateway, number: int, word: int) -> int:
    value: int = gateway.words[page.W_SLOTS + page.SLOT * number + word]
    return value


# -- what comes back -------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    "prefix", [b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r"]
)
def test_an_incomplete_head_goes_back_untouched(concurrency: int, prefix: bytes) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        gateway.lend(prefix)
        back = gateway.returned()
        assert (back.how, back.leftover, back.requests, back.consumed, back.written) == (
            KEEP,
            prefix,
            0,
            0,
            0,
        )


@both
def test_a_pipelined_beginning_goes_back_after_the_answer(concurrency: int) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        client = gateway.lend(A + B + A[:20])
        back = gateway.returned()
        assert (back.how, back.leftover, back.requests, back.consumed) == (KEEP, A[:20], 2, 0)
        assert client.response()[2] == b"hello a"
        assert client.response()[2] == b"hello b"


@both
def test_what_was_read_with_a_body_goes_back(concurrency: int) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        client = gateway.lend(POST + b"a")
        client.send(b"bc" + A[:9])
        back = gateway.returned()
        assert (back.how, back.leftover, back.requests, back.consumed) == (KEEP, A[:9], 1, 11)
        assert client.response()[2] == b"abc"


@both
@pytest.mark.parametrize(
    ("raw", "options"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", {}),
        (b"NONSENSE\r\n\r\n", {}),
        (b"GET / HTTP/1.1\nHost: x\n\n", {}),
        (POST.replace(b"3\r\n", b"3\r\nTransfer-Encoding: chunked\r\n"), {}),
        (A.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 500 + b"\r\n\r\n"), {"head_size": 400}),
        (b"GET /" + b"y" * 500, {"head_size": 400}),
        (POST + b"abc", {"max_body": 2}),
    ],
)
def test_what_the_gateway_has_to_refuse_goes_back_raw(
    concurrency: int, raw: bytes, options: dict[str, Any]
) -> None:
    with WsgiGateway(menu, concurrency=concurrency, **options) as gateway:
        client = gateway.lend(A + raw + b"what follows")
        back = gateway.returned()
        assert (back.how, back.leftover, back.requests) == (RETRY, raw + b"what follows", 1)
        assert client.response()[2] == b"hello a"
        gateway.lend(raw)
        back = gateway.returned(2)
        assert (back.how, back.leftover, back.requests, back.written) == (RETRY, raw, 0, 0)


ROUTES = [
    {"host": None, "prefix": "", "function": "app"},
    {"host": None, "prefix": "/blog", "function": "blog"},
    {"host": "other.example", "prefix": "", "function": "other"},
]


@both
@pytest.mark.parametrize(
    "raw",
    [
        A.replace(b"/hello", b"/blog"),
        A.replace(b"/hello", b"/%62log/x"),
        A.replace(b"app.example", b"Other.example:80"),
        A.replace(b"/hello", b"http://other.example/hello"),
    ],
)
def test_requests_of_other_functions_never_reach_the_app(concurrency: int, raw: bytes) -> None:
    with WsgiGateway(menu, concurrency=concurrency, routes=ROUTES) as gateway:
        client = gateway.lend(A + raw + B)
        back = gateway.returned()
        assert (back.how, back.leftover, back.requests) == (RETRY, raw + B, 1)
        assert client.response()[2] == b"hello a"


@both
def test_a_loan_that_is_not_sticky_is_for_one_request(concurrency: int) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        client = gateway.lend(A + B, sticky=False)
        back = gateway.returned()
        assert (back.how, back.leftover, back.requests) == (KEEP, B, 1)
        assert client.response()[2] == b"hello a"


@both
def test_the_end_of_the_clients_side(concurrency: int, patient: None) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        client = gateway.lend(A)
        client.response()
        client.half_close()
        back = gateway.returned()
        assert (back.how, back.clean, back.leftover) == (END, True, b"")


# -- sticky ----------------------------------------------------------------------------------------------


@both
def test_a_sticky_connection_is_read_on(concurrency: int, patient: None) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        client = gateway.lend(A)
        for _ in range(5):
            client.response()
            client.send(B)
        assert client.response()[2] == b"hello b"
        assert not gateway.back
        gateway.wait_word(page.W_DONE, 6)
        assert gateway.word(page.W_STARTED) == 6 and gateway.word(page.W_BUSY) == 0
        assert gateway.word(page.W_LOANS) == 1 and gateway.word(page.W_STATUS + 1) == 6
        wait_for(lambda: slot(gateway, 0, page.S_STATE) == page.BOUNDARY)
        assert slot(gateway, 0, page.S_CONSUMED) == 5 * len(B)


def test_connections_are_held_and_served_by_turns(patient: None) -> None:
    with WsgiGateway(menu) as gateway:
        clients = [gateway.lend(A) for _ in range(5)]
        for _ in range(3):
            for client in clients:
                assert client.response()[2] == b"hello a"
            for client in reversed(clients):
                client.send(A)
        assert not gateway.back
        gateway.wait_word(page.W_LOANS, 5)


@pytest.mark.usefixtures("patient")
def test_the_gateway_takes_back_what_waits_for_a_slow_request() -> None:
    with WsgiGateway(menu) as gateway:
        kept = gateway.lend(A)
        kept.response()
        gateway.lend(B).response()
        slow = gateway.lend(path_gate(b"x"))
        wait_for(lambda: "waiting x" in gateway.errors())
        gateway.lend(B)  # not begun
        kept.send(A)
        with pytest.raises(BlockingIOError):
            gateway.held[3].recv(1)
        assert gateway.guard.try_lock()
        assert gateway.word(page.W_CURRENT) == 3
        gateway.words[page.W_TAKEN] = gateway.number + 1
        gateway.guard.unlock()
        assert gateway.held[1].recv(1000) == A
        os.write(wsgiapps.GATE_WRITE, b".")
        assert slow.response()[2] == b"passed ."
        slow.send(B)
        assert slow.response()[2] == b"hello b"
        gateway.held[1].send(b"from the gateway")
        assert kept.exactly(16) == b"from the gateway"
        late = gateway.lend(A)
        assert late.response()[2] == b"hello a"
        gateway.leave()
        gateway.wait_bye()
        assert sorted(back.id for back in gateway.back) == [3, 5]
        assert gateway.word(page.W_DONE) == gateway.word(page.W_STARTED) == 5


@pytest.mark.usefixtures("patient")
def test_many_requests_in_one_piece_do_not_keep_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi_conversation, "LONGEST_TURN_NS", 0)
    with WsgiGateway(menu) as gateway:
        first = gateway.lend(path_gate(b"x") + A + A)
        wait_for(lambda: "waiting x" in gateway.errors())
        other = gateway.lend(B)
        os.write(wsgiapps.GATE_WRITE, b".")
        back = gateway.returned()
        assert (back.id, back.how, back.leftover, back.requests) == (1, KEEP, A + A, 1)
        assert first.response()[2] == b"passed ."
        assert other.response()[2] == b"hello b"


@pytest.mark.parametrize("word", [page.W_DEMAND, page.W_LEAVE])
def test_a_recall_ends_the_wait(word: int, patient: None) -> None:
    with WsgiGateway(menu) as gateway:
        gateway.lend(A).response()
        gateway.words[word] = 1
        gateway.recall()
        assert (gateway.returned().how, gateway.back[0].leftover) == (KEEP, b"")


@both
@pytest.mark.parametrize("word", [page.W_DEMAND, page.W_LEAVE, page.W_GENERATION])
def test_no_further_request_is_read_once_the_connection_is_wanted_back(
    concurrency: int, word: int, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wsgi_conversation, "TURN_NS", 0)
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        client = gateway.lend(path_gate(b"x") + B)
        wait_for(lambda: "waiting x" in gateway.errors())
        gateway.words[word] = 7
        os.write(wsgiapps.GATE_WRITE, b".")
        back = gateway.returned()
        assert (back.how, back.leftover, back.requests) == (KEEP, B, 1)
        assert client.response()[2] == b"passed ."


def test_a_connection_has_its_turn_while_others_wait(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TURN_NS", "LONGEST_TURN_NS"):
        monkeypatch.setattr(wsgi_conversation, name, 60_000_000_000)
    monkeypatch.setattr(wsgi_loop, "GLANCE_S", 20.0)
    with WsgiGateway(menu) as gateway:
        gateway.words[page.W_DEMAND] = 1
        client = gateway.lend(A + B)
        assert client.response()[2] == b"hello a"
        assert client.response()[2] == b"hello b"
        client.send(A)  # its client is quick: waited for
        assert client.response()[2] == b"hello a"
        gateway.recall()
        back = gateway.returned()
        assert (back.how, back.leftover, back.requests) == (KEEP, b"", 3)


# -- the page --------------------------------------------------------------------------------------------


@both
def test_what_the_page_says_while_the_app_runs(concurrency: int) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        client = gateway.lend(path_gate(b"1"))
        wait_for(lambda: "waiting 1" in gateway.errors())
        assert gateway.word(page.W_BUSY) == 1 and gateway.word(page.W_DONE) == 0
        assert slot(gateway, 0, page.S_STATE) == page.RUNNING
        os.write(wsgiapps.GATE_WRITE, b".")
        client.response()
        client = gateway.lend(b"GET /gatebegun HTTP/1.1\r\nHost: x\r\n\r\n")
        client.until(b"begun\r\n")
        assert slot(gateway, 1, page.S_STATE) == page.BEGUN
        os.write(wsgiapps.GATE_WRITE, b".")
        client.until(b"0\r\n\r\n")
        gateway.wait_word(page.W_DONE, 2)


@both
def test_counts_of_bytes(concurrency: int) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        client = gateway.lend(POST + b"a")
        client.send(b"bc")
        back = gateway.returned()
        assert (back.consumed, back.written) == (2, len(client.until(b"\r\n\r\nabc")))


@both
def test_bodies_over_unix_sockets_do_not_unsay_that_an_answer_has_begun(concurrency: int) -> None:
    raw = b"POST /duplex HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    with WsgiGateway(menu, unix=True, concurrency=concurrency) as gateway:
        client = gateway.lend(raw)
        client.until(b"ready\r\n")
        client.send(b"a")
        client.until(b"a\r\n")
        assert slot(gateway, 0, page.S_STATE) == page.BEGUN
        client.send(b"b")
        client.until(b"0\r\n\r\n")


# -- leaving ---------------------------------------------------------------------------------------------


@both
def test_leaving(concurrency: int) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        client = gateway.lend(path_gate(b"1"))
        wait_for(lambda: "waiting 1" in gateway.errors())
        gateway.leave()
        os.write(wsgiapps.GATE_WRITE, b".")
        assert client.response()[1].get("connection") is None
        gateway.wait_bye()
        assert gateway.returned().how == KEEP
        assert gateway.exit_code() == 0


@both
def test_a_loan_that_comes_to_a_leaving_instance_goes_back(concurrency: int) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        gateway.lend(path_gate(b"1"))
        wait_for(lambda: "waiting 1" in gateway.errors())
        gateway.words[page.W_LEAVE] = 1
        gateway.lend(B)
        if concurrency > 1:
            assert gateway.returned().leftover == B
        os.write(wsgiapps.GATE_WRITE, b".")
        gateway.wait_bye()
        assert sorted((one.id, one.requests, one.leftover) for one in gateway.back) == [
            (1, 1, b""),
            (2, 0, B),
        ]


@both
def test_max_requests(concurrency: int) -> None:
    with WsgiGateway(menu, concurrency=concurrency, max_requests=2) as gateway:
        client = gateway.lend(A + B + A)
        gateway.wait_bye()
        assert gateway.exit_code() == 0
        back = gateway.returned()
        assert (back.how, back.leftover, back.requests) == (KEEP, A, 2)
        assert [client.response()[2] for _ in range(2)] == [b"hello a", b"hello b"]
        assert gateway.word(page.W_LEAVING) == 1


@both
def test_streams_are_cut_after_the_drain_deadline(concurrency: int) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        client = gateway.lend(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        client.head()
        gateway.leave(2)
        gateway.wait_bye()
        assert gateway.returned().how == END
        assert gateway.word(page.W_CUT) == 1
        assert "closed\n" in gateway.errors()


@both
def test_a_whole_answer_is_not_counted_as_cut(concurrency: int) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        client = gateway.lend(path_gate(b"1"))
        wait_for(lambda: "waiting 1" in gateway.errors())
        gateway.leave(2)
        os.write(wsgiapps.GATE_WRITE, b".")
        assert client.response()[2] == b"passed ."
        gateway.wait_bye()
        assert gateway.word(page.W_CUT) == 0 and gateway.returned().how == KEEP


@both
def test_without_a_gateway_the_instance_goes(concurrency: int) -> None:
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        gateway.control.close()
        assert gateway.exit_code() == 0


# -- clients ---------------------------------------------------------------------------------------------


@both
def test_a_client_that_takes_nothing_is_given_up(concurrency: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi_wire, "STALLED_S", 1)
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        gateway.lend(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert gateway.returned().how == END
        assert "closed\n" in gateway.errors()


@both
def test_a_client_that_stops_in_its_body_is_given_up(
    concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wsgi_wire, "STALLED_S", 1)
    with WsgiGateway(menu, concurrency=concurrency) as gateway:
        gateway.lend(POST + b"a")
        assert gateway.returned().how == END


@both
def test_an_apps_default_timeout_and_signals_do_not_disturb(concurrency: int, patient: None) -> None:
    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        socket.setdefaulttimeout(0.001)
        signal.set_wakeup_fd(-1)
        return menu(environ, start)

    with WsgiGateway(app if concurrency == 1 else menu, concurrency=concurrency) as gateway:
        gateway.lend(A).response()
        client = gateway.lend(POST)
        wait_for(lambda: slot(gateway, 1, page.S_STATE) == page.RUNNING)
        client.send(b"abc")
        assert client.response()[2] == b"abc"


# -- threads ---------------------------------------------------------------------------------------------


def threads(gateway: WsgiGateway) -> int:
    return len(os.listdir(f"/proc/{gateway.pid}/task"))


def test_threads_are_made_as_needed_and_run_side_by_side() -> None:
    with WsgiGateway(menu, concurrency=4) as gateway:
        gateway.lend(A).response()
        gateway.returned()
        assert threads(gateway) == 2
        clients = [gateway.lend(path_gate(b"%d" % number)) for number in range(4)]
        wait_for(lambda: gateway.word(page.W_BUSY) == 4)
        assert threads(gateway) == 5
        waiting = gateway.lend(B)
        os.write(wsgiapps.GATE_WRITE, b"....")
        assert {client.response()[2] for client in clients} == {b"passed ."}
        assert waiting.response()[2] == b"hello b"
        assert threads(gateway) == 5


def test_a_late_request_is_answered_and_its_instance_replaced() -> None:
    with WsgiGateway(menu, concurrency=4, timeout=60) as gateway:
        begun = gateway.lend(b"GET /gatebegun HTTP/1.1\r\nHost: x\r\n\r\n")
        begun.until(b"begun\r\n")
        late = gateway.lend(path_gate(b"late") + B, t0_ns=time.monotonic_ns() - 61 * 10**9)
        status, headers, body = late.response()
        assert (status, headers["connection"]) == (504, "close")
        assert b'"timeout"' in body and headers["x-request-id"].encode() in body
        back = gateway.return_of(2)
        assert (back.how, back.clean, back.requests) == (END, False, 1)
        gateway.end(2)
        assert not gateway.said_bye, "the stream goes on"
        os.write(wsgiapps.GATE_WRITE, b"..")
        begun.until(b"passed\r\n0\r\n\r\n")
        gateway.wait_bye()
        assert late.everything() == b""
        assert gateway.exit_code() == 0
        assert gateway.return_of(1).how == KEEP
        assert gateway.word(page.W_STATUS + 4) == 1 and gateway.word(page.W_BUSY) == 0
        assert '" 504 ' in gateway.log() and "passed its timeout" in gateway.errors()


def test_the_timeout_began_in_the_gateway() -> None:
    with WsgiGateway(menu, concurrency=2, timeout=60) as gateway:
        asked = time.monotonic_ns() - 61 * 10**9
        assert gateway.lend(path_gate(b"late"), t0_ns=asked).response()[0] == 504
        gateway.wait_bye()


def test_a_process_with_a_late_thread_leaves_without_it() -> None:
    with WsgiGateway(menu, concurrency=2, timeout=0.2) as gateway:
        assert gateway.lend(path_gate(b"late")).response()[0] == 504
        gateway.wait_bye()
        assert gateway.exit_code() == 0


def test_the_page_tells_how_long_the_oldest_request_waits() -> None:
    with WsgiGateway(menu, concurrency=2) as gateway:
        before = time.monotonic_ns()
        client = gateway.lend(path_gate(b"1"))
        wait_for(lambda: gateway.word(page.W_WAITING))
        assert before < gateway.word(page.W_WAITING) < time.monotonic_ns()
        wait_for(lambda: gateway.word(page.W_HEARTBEAT) > before)
        os.write(wsgiapps.GATE_WRITE, b".")
        client.response()
        gateway.wait_word(page.W_WAITING, 0)


def many(gateway: WsgiGateway, rounds: int) -> None:
    clients: list[Client] = [gateway.lend(A) for _ in range(4)]
    for client in clients:
        assert client.response()[2] == b"hello a"
    for _ in range(rounds):
        for number in range(gateway.number - 3, gateway.number + 1):
            assert gateway.return_of(number).how == KEEP
        numbers = range(gateway.number - 3, gateway.number + 1)
        for number in numbers:
            gateway.lend_again(gateway.held.pop(number), B)
        for client in clients:
            assert client.response()[2] == b"hello b"


def test_connections_are_lent_again_and_again() -> None:
    with WsgiGateway(menu, concurrency=4) as gateway:
        many(gateway, 1)
        descriptors = len(os.listdir(f"/proc/{gateway.pid}/fd"))
        many(gateway, 10)
        assert threads(gateway) <= 5
        assert len(os.listdir(f"/proc/{gateway.pid}/fd")) <= descriptors + 4
