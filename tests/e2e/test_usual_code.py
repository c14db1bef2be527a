"""Apps with their usual code: forked as they are, or spawned and told why, with twins that cure it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from server import Serve

APPS = Path(__file__).resolve().parents[1] / "apps"


async def _ask_at_once(server: Serve, clients: int, rounds: int) -> list[tuple[int, int, bytes]]:
    """(number asked for, status, body) of each request.

    In each round every client's request is sent before the first answer is read; connections are kept.
    """
    streams = [await asyncio.open_connection(server.host, server.port) for _ in range(clients)]
    answers = []
    for turn in range(rounds):
        first = turn * clients
        for number, (_, writer) in enumerate(streams, first):
            writer.write(f"GET /mine/{number} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode())
        for number, (reader, _) in enumerate(streams, first):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head)
            assert length, head
            answers.append((number, int(head.split()[1]), await reader.readexactly(int(length[1]))))
    for _, writer in streams:
        writer.close()
    return answers


def ask_for_mine(server: Serve, clients: int, rounds: int) -> list[tuple[int, dict[str, Any]]]:
    """What was asked for and answered, `clients` requests at once, so many rounds; each is a 200."""
    answers = asyncio.run(_ask_at_once(server, clients, rounds))
    failed = [(number, status, body) for number, status, body in answers if status != 200]
    assert not failed, f"{len(failed)} failed, such as {failed[0]}"
    return [(number, json.loads(body)) for number, _, body in answers]


def strangers(asked: list[tuple[int, dict[str, Any]]]) -> list[tuple[int, dict[str, Any]]]:
    """The answers in which database, redis or upstream answered another request than the one that asked."""
    usual = {"redis": "mine {}", "upstream": "/?n={}"}
    return [
        (number, answer)
        for number, answer in asked
        if answer["database"] != number
        or any(answer[name] != text.format(number) for name, text in usual.items() if name in answer)
    ]


def check_own_connections(answers: list[dict[str, Any]]) -> None:
    """No database connection was used by two processes."""
    owners: dict[int, set[int]] = {}
    for answer in answers:
        owners.setdefault(answer["backend"], set()).add(answer["pid"])
    assert all(len(pids) == 1 for pids in owners.values()), owners


MANY = ("--max-instances=20", "--min-instances=20", "--spares=0")


@pytest.fixture
def stack_env(postgres_port: int, redis_port: int, http_url: str) -> dict[str, str]:
    place = f"postgres@127.0.0.1:{postgres_port}/postgres"
    return {
        "DATABASE_URL": f"postgresql+psycopg://{place}",
        "ASYNC_DATABASE_URL": f"postgresql+asyncpg://{place}",
        "POSTGRES_PORT": str(postgres_port),
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "UPSTREAM_URL": http_url,
    }


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for 1,000 connections in this process, where the usual soft limit is 1,024 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("stack", ["flask", "django", "fastapi"])
def test_forked_with_its_usual_code(
    stack: str, stack_env: dict[str, str], soak: Callable[..., int], record: Callable[[str, object], None]
) -> None:
    """1,000 requests at once over 20 instances: nobody reads another's answer."""
    words, app_dir = {
        "flask": (["flask_stack:app"], APPS),
        "django": ([], APPS / "site_postgres"),
        "fastapi": (["fastapi_stack:app", "--concurrency=2"], APPS),
    }[stack]
    if stack == "django":
        manage = [sys.executable, str(APPS / "site_postgres" / "manage.py"), "migrate", "-v0"]
        subprocess.run(manage, env={**os.environ, **stack_env}, check=True)
    with Serve(*words, *MANY, app_dir=app_dir, env=stack_env) as server:
        function = server.wait_until(lambda one: len(one["instances"]) == 20)
        assert function["mode"] == "fork", function["template"]["findings"]
        asked = ask_for_mine(server, clients=1000, rounds=soak(ci=1, full=20))
        mixed = strangers(asked)
        used = len({answer["pid"] for _, answer in asked})
        figures = f"{len(asked)} over {used}, {len(mixed)}"
        record(f"{stack}: requests, 1,000 at once, over instances; mixed-up answers", figures)
        assert not mixed, mixed[:3]
        assert used == 20
        check_own_connections([answer for _, answer in asked])


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A TCP server that sends back what it gets."""

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(4096):
                connection.sendall(data)

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


PLACE = ("--app-dir", str(APPS / "dirty"), "--python", sys.executable)
FINDINGS = {"thread": "ticker", "connection": "to 127.0.0.1", "executor": "ThreadPoolExecutor"}


@pytest.mark.parametrize("name", FINDINGS)
def test_spawned_and_told_why(name: str, echo_port: int) -> None:
    env = {"ECHO_PORT": str(echo_port)}
    with Serve(f"{name}:app", app_dir=APPS / "dirty", env=env) as server:
        function = server.function()
        assert function["mode"] == "spawn"
        spawning = [one for one in function["template"]["findings"] if one["severity"] == "spawn"]
        assert any(FINDINGS[name] in str(one) for one in spawning), spawning
        assert any(f"{name}.py" in str(one["origin"]) for one in spawning), spawning
        assert all(one["cure"] for one in spawning)
        said = "\n".join(server.output)
        assert FINDINGS[name] in said
        assert "spawn" in said
        answers = [server.get("/") for _ in range(3)]
        assert [answer.json() for answer in answers] == [{"works": True}] * 3
        assert {answer.start for answer in answers} <= {"spare", "spawn", None}
        assert server.function()["starts"]["fork"] == 0
        doctor = server.run("doctor", f"{name}:app", *PLACE)
        assert doctor.returncode == 1, doctor.stdout + doctor.stderr
        assert FINDINGS[name] in doctor.stdout


@pytest.mark.parametrize("name", FINDINGS)
def test_its_twin_is_forked(name: str, echo_port: int) -> None:
    env = {"ECHO_PORT": str(echo_port)}
    each = ("--spares=0", "--max-requests=1")
    with Serve(f"{name}_twin:app", *each, app_dir=APPS / "dirty", env=env) as server:
        assert server.function()["mode"] == "fork", server.function()["template"]["findings"]
        answers = [server.get("/") for _ in range(3)]
        assert [answer.json() for answer in answers] == [{"works": True}] * 3
        assert Counter(answer.start for answer in answers) == {"fork": 3}
        doctor = server.run("doctor", f"{name}_twin:app", *PLACE)
        assert doctor.returncode == 0, doctor.stdout + doctor.stderr


WORKERS = """
import multiprocessing

fork = multiprocessing.get_context("fork")


def absolute():
    with fork.Pool(2) as pool:
        return pool.map(abs, [-1, -2])


AT_IMPORT = absolute()


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr((AT_IMPORT, absolute())).encode()]
"""


@pytest.mark.parametrize("spares", [0, 1])
def test_worker_processes_of_the_app_can_be_ended(spares: int, tmp_path: Path) -> None:
    """Ours shrug SIGTERM off, theirs must not: `multiprocessing` ends its workers with it, and waits."""
    (tmp_path / "workers.py").write_text(WORKERS)
    with Serve("workers:app", f"--spares={spares}", app_dir=tmp_path) as server:
        for _ in range(2):
            assert server.get("/").text == "([1, 2], [1, 2])"
