"""Apps with their usual code: forked as they are, or spawned and told why, with twins that cure it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from server import Serve

APPS = Path(__file__).resolve().parents[1] / "apps"


def ask_for_mine(server: Serve, clients: int, total: int) -> list[dict[str, Any]]:
    """`total` requests over `clients` keep-alive connections at once; each must get its own answer."""

    def one(first: int) -> list[dict[str, Any]]:
        client, answers = server.client(), []
        for number in range(first, total, clients):
            answer = client.ask("GET", f"/mine/{number}")
            assert answer.status == 200, answer
            assert answer.json()["database"] == number
            assert answer.json().get("redis", f"mine {number}") == f"mine {number}"
            assert answer.json().get("upstream", 200) == 200
            answers.append(answer.json())
        client.close()
        return answers

    with ThreadPoolExecutor(clients) as pool:
        return [answer for answers in pool.map(one, range(clients)) for answer in answers]


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


@pytest.mark.timeout(120)
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
        total = soak(ci=1000, full=20_000)
        answers = ask_for_mine(server, clients=40, total=total)
        assert len(answers) == total
        check_own_connections(answers)
        used = len({answer["pid"] for answer in answers})
        assert used > 1
        record(f"{stack}: requests over instances, mixed-up answers", f"{total} over {used}, 0")


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
