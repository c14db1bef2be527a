"""Several connections in one instance at concurrency 1: what becomes of them when it stops or dies."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server import Client, Serve
from snapfork.runner.wire.guard import Guard

APPS = Path(__file__).resolve().parents[1] / "apps"
CLIENTS = 12
ROUNDS = 60


def busy(client: Client) -> Counter[int]:
    """Many requests in a row; the processes that answered."""
    pids: Counter[int] = Counter()
    for _ in range(ROUNDS):
        answer = client.ask("GET", "/pid")
        assert answer.status == 200, answer.text
        pids[int(answer.text)] += 1
    return pids


def shared(pool: ThreadPoolExecutor, clients: list[Client]) -> int:
    """Load all connections; the process that answered most."""
    return sum(pool.map(busy, clients), Counter()).most_common(1)[0][0]


def page_of(pid: int) -> Guard:
    """The lock of an instance's page, from outside."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{name}"
        if "snapfork-page" in os.readlink(path):
            return Guard(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    raise AssertionError("the instance has no page")


def test_an_instance_that_stands_still_between_two_requests_keeps_no_new_ones() -> None:
    words = ("wsgi_app:app", "--concurrency=1", "--max-instances=2", "--spares=0")
    with Serve(*words, app_dir=APPS) as server, ThreadPoolExecutor(CLIENTS) as pool:
        clients = [server.client() for _ in range(CLIENTS)]
        pid = shared(pool, clients)
        loads = [pool.submit(busy, client) for client in clients[: CLIENTS // 2]]
        os.kill(pid, signal.SIGSTOP)
        try:
            fresh = [server.client() for _ in range(CLIENTS // 2)]
            answers = [pool.submit(busy, client) for client in fresh]
            for one in answers:
                assert pid not in one.result(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):  # it stood still with its lock, and was killed
                os.kill(pid, signal.SIGCONT)
        for load in loads:
            load.result(timeout=60)


def test_an_instance_that_never_gets_its_lock_holds_nobody_up() -> None:
    words = ("wsgi_app:app", "--concurrency=1", "--max-instances=2", "--spares=0")
    with Serve(*words, app_dir=APPS) as server, ThreadPoolExecutor(CLIENTS) as pool:
        clients = [server.client() for _ in range(CLIENTS)]
        pid = shared(pool, clients)
        guard = page_of(pid)
        loads = [pool.submit(busy, client) for client in clients]
        guard.lock()
        try:
            for load in loads:
                load.result(timeout=60)
        finally:
            guard.close()


def test_a_killed_instance_loses_the_request_that_it_ran_and_no_other() -> None:
    words = ("wsgi_app:app", "--concurrency=1", "--max-instances=2", "--timeout=60")
    with Serve(*words, app_dir=APPS) as server, ThreadPoolExecutor(CLIENTS) as pool:
        killed = 15

        def load(client: Client) -> Counter[int]:
            seen: Counter[int] = Counter()
            for number in range(10 * ROUNDS):
                answer = client.ask("GET", f"/echo?{id(client)}-{number}")
                seen[answer.status] += 1
                if answer.status == 200:
                    assert answer.json()["query"] == f"{id(client)}-{number}"
            return seen

        clients = [server.client() for _ in range(CLIENTS)]
        loads = [pool.submit(load, client) for client in clients]
        for _ in range(killed):
            os.kill(int(server.get("/pid").text), signal.SIGKILL)
        seen = sum((one.result() for one in loads), Counter())
        assert seen[200] + seen[502] == CLIENTS * 10 * ROUNDS
        assert seen[502] <= killed
