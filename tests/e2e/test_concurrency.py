"""Who waits for whom: slow requests beside others, timeouts among others, streams, and idle connections."""

from __future__ import annotations

import os
import pwd
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from load import read_answer
from server import Client, Serve
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

APPS = Path(__file__).resolve().parents[1] / "apps"


def ask(client: Client, path: str) -> tuple[int, str]:
    answer = client.ask("GET", path)
    return answer.status, answer.text


class Gate:
    """What `/held` waits for."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "open"
        self.page = f"/held?until={self._path}"

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self._path.touch()


def test_a_slow_request_does_not_hold_up_another_connection(tmp_path: Path) -> None:
    with Serve("wsgi_app:app", "--concurrency=1", app_dir=APPS) as server, ThreadPoolExecutor(1) as pool:
        one, other = server.client(), server.client()
        first = ask(one, "/pid")[1], ask(other, "/pid")[1]
        with Gate(tmp_path) as gate:
            slow = pool.submit(ask, one, gate.page)
            server.wait_until(lambda state: any(i["state"] == "busy" for i in state["instances"]))
            status, answered_by = ask(other, "/pid")
            assert not slow.done()
        assert status == 200
        assert slow.result()[1] != answered_by
        assert len(first) == 2


def test_connections_that_share_an_instance_do_not_wait_for_a_slow_request_on_one_of_them(
    tmp_path: Path,
) -> None:
    with Serve("wsgi_app:app", "--concurrency=1", "--max-instances=3", app_dir=APPS) as server:
        clients = [server.client() for _ in range(12)]
        with ThreadPoolExecutor(12) as pool:

            def many(client: Client) -> None:
                for _ in range(100):
                    assert ask(client, "/pid")[0] == 200

            for name in ("first", "second"):
                list(pool.map(many, clients))
                (tmp_path / name).mkdir()
                with Gate(tmp_path / name) as gate:
                    slow = [pool.submit(ask, client, gate.page) for client in clients[:2]]
                    list(pool.map(many, clients[2:]))
                    assert not any(one.done() for one in slow)
                assert {one.result()[0] for one in slow} == {200}


def test_four_slow_requests_run_side_by_side_in_threads(tmp_path: Path) -> None:
    words = ("wsgi_app:app", "--concurrency=4", "--max-instances=1", "--spares=0")
    with Serve(*words, app_dir=APPS) as server, ThreadPoolExecutor(4) as pool:
        with Gate(tmp_path) as gate:
            running = [pool.submit(ask, server.client(), gate.page) for _ in range(4)]
            server.wait_until(lambda state: [i["busy"] for i in state["instances"]] == [4])
        answers = [one.result() for one in running]
        assert {status for status, _ in answers} == {200}
        assert len({pid for _, pid in answers}) == 1


@pytest.mark.parametrize("target", ["asgi_app:app", "wsgi_app:app"])
def test_one_late_request_among_others_is_one_504(target: str) -> None:
    words = (target, "--concurrency=32", "--max-instances=1", "--spares=0", "--timeout=6", "--warmup=none")
    with Serve(*words, app_dir=APPS) as server, ThreadPoolExecutor(32) as pool:
        late = pool.submit(server.get, "/slow?seconds=60")
        server.wait_until(lambda state: [i["busy"] for i in state["instances"]] == [1])
        others = [pool.submit(server.get, "/slow?seconds=1.5") for _ in range(31)]
        answers = [one.result() for one in others]
        assert [one.status for one in answers] == [200] * 31
        assert len({one.text for one in answers}) == 1
        assert late.result().status == 504
        error = late.result().json()["error"]
        assert error["code"] == "timeout"
        assert error["request_id"] == late.result().headers["x-request-id"]


def test_a_blocked_loop_is_killed() -> None:
    words = ("asgi_app:app", "--max-instances=1", "--spares=0", "--timeout=2")
    with Serve(*words, app_dir=APPS) as server, ThreadPoolExecutor(2) as pool:
        stream = server.raw()
        stream.sendall(b"GET /stream?count=1000&pause=0.1 HTTP/1.1\r\nHost: a.example\r\n\r\n")
        seen = stream.recv(65536)
        blocked = pool.submit(server.get, "/block?seconds=60")
        assert blocked.result().status == 504
        while more := stream.recv(65536):
            seen += more
        assert not seen.endswith(b"0\r\n\r\n")  # its answer had begun: it is cut, not mixed with another
        assert seen.count(b"HTTP/1.1") == 1
        assert server.get("/").status == 200
        assert server.function()["deaths"] == {"timeout": 1}
        stream.close()


def test_streams_and_websockets_outlive_the_timeout() -> None:
    with Serve("asgi_app:app", "--timeout=1.5", app_dir=APPS) as server:
        stream = server.raw()
        stream.sendall(b"GET /stream?count=20&pause=0.1 HTTP/1.1\r\nHost: a.example\r\n\r\n")
        with connect(f"ws://{server.host}:{server.port}/") as talk:
            answer = read_answer(stream.makefile("rb"))
            talk.send("still there?")
            assert talk.recv() == "still there?"
        assert answer is not None
        assert answer[0] == 200
        assert answer[2].count(b"chunk") == 20
        stream.close()


def test_replaced_streams_end_after_the_drain_timeout_and_are_counted() -> None:
    with Serve("asgi_app:app", "--drain-timeout=0.5", app_dir=APPS) as server:
        stream = server.raw()
        stream.sendall(b"GET /stream?count=100000&pause=0.05 HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert stream.recv(4096)
        with connect(f"ws://{server.host}:{server.port}/") as talk:
            talk.send("pid")
            old = talk.recv()
            assert server.run("reload", str(server.process.pid)).returncode == 0
            while stream.recv(65536):
                pass  # until it is ended
            with pytest.raises(ConnectionClosed):
                talk.recv()
            assert talk.close_code == 1012
        assert server.get("/pid").text != old
        server.wait_until(lambda state: state["streams_cut"] == 2)
        stream.close()


@pytest.mark.parametrize("target", ["wsgi_app:app", "asgi_app:app"])
def test_idle_connections_cost_no_instance_and_little_memory(
    target: str,
    soak: Callable[[int, int], int],
    record: Callable[[str, object], None],
) -> None:
    count = soak(1500, 10_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held: list[socket.socket] = []
    user = ordinary_user()
    words = ("--no-access-log", "--idle-timeout=0.2")
    runner = Serve(target, *words, app_dir=APPS, preexec=lambda: as_usual(user))
    os.chown(runner.run_dir, user, -1)
    try:
        with runner as server:
            assert os.stat(f"/proc/{server.process.pid}").st_uid == user
            before = resident(server)
            for number in range(count):
                sock = server.raw()
                held.append(sock)
                if number % 2:
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
                    assert sock.recv(4096).startswith(b"HTTP/1.1 200")
            server.wait_until(lambda state: [one["state"] for one in state["instances"]] == ["spare"])
            state = server.status()["connections"]
            assert state == {"total": count, "idle": count, "waiting": 0, "lent": 0}
            each = (resident(server) - before) / count
            who = pwd.getpwuid(user).pw_name
            record(f"{target}: {count} idle connections, user {who}: bytes each in the gateway", round(each))
            assert each < 16_384
            with ThreadPoolExecutor(16) as pool:
                seen = list(pool.map(again, held))
            assert seen == [200] * count
    finally:
        for sock in held:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def again(sock: socket.socket) -> int:
    """One more request on a connection that was idle."""
    sock.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
    answer = read_answer(sock.makefile("rb"))
    return answer[0] if answer else 0


def resident(server: Serve) -> int:
    """Bytes of memory that the gateway holds."""
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def as_usual(user: int) -> None:
    """The user and the soft limit that most have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    if os.geteuid() != user:
        os.setgroups([])
        os.setuid(user)


def ordinary_user() -> int:
    """For root some user without rights, if that one can read this installation; else whoever runs this."""
    if os.geteuid():
        return os.geteuid()
    nobody = pwd.getpwnam("nobody").pw_uid
    command = [sys.executable, "-c", "import sys, snapfork.runner; sys.path += sys.argv[1:]; import wsgi_app"]
    try:
        tried = subprocess.run(
            [*command, str(APPS)], user=nobody, extra_groups=[], cwd="/", capture_output=True, check=False
        )
    except PermissionError:  # the interpreter itself is out of that one's reach
        return 0
    return nobody if tried.returncode == 0 else 0
