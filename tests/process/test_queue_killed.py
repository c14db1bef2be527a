"""The queue's process is killed with -9 again and again while clients enqueue: nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from queue_service import KINDS

pytestmark = pytest.mark.once

HERE = Path(__file__).resolve().parent
CLIENTS = 4
WINDOW = 100


class Service:
    """The process, and how often it was killed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kills = 0
        self.start()

    def start(self) -> None:
        self.path = str(self.root / f"s{self.kills}")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "queue_service.py"), str(self.root), self.path],
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(HERE)},
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.kills += 1


def client(service: Service, number: int, count: int, acknowledged: set[str]) -> None:
    """Enqueue `count` invocations; what was not acknowledged when the process died is sent again, under the
    same id, as a client of the API would do it."""
    todo = [f"{number}-{one} {KINDS[one % len(KINDS)]}" for one in range(count)]
    todo.reverse()
    while todo:
        sent: dict[str, str] = {}
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(service.path)
                file = sock.makefile("rb")
                while todo or sent:
                    while todo and len(sent) < WINDOW:
                        line = todo.pop()
                        sent[line.split()[0]] = line
                        sock.sendall(line.encode() + b"\n")
                    answer = file.readline().decode().strip()
                    if not answer:
                        raise ConnectionError
                    acknowledged.add(answer)
                    del sent[answer]
        except OSError:
            todo.extend(sent.values())
            time.sleep(0.01)  # between two tries to connect


def test_killed_again_and_again(
    tmp_path: Path, soak: Callable[[int, int], int], record: Callable[[str, object], None]
) -> None:
    count = soak(2_000, 100_000) // CLIENTS
    service = Service(tmp_path)
    sets: list[set[str]] = [set() for _ in range(CLIENTS)]
    threads = [
        threading.Thread(target=client, args=(service, number, count, sets[number]))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            # As far as it comes, not for a time: on a busy machine it would be killed before it has begun.
            goal = sum(map(len, sets)) + random.randrange(soak(500, 20_000))
            while sum(map(len, sets)) < goal and (alive := [one for one in threads if one.is_alive()]):
                alive[0].join(0.001)
            service.kill()
            service.start()
        ended = _ended(tmp_path)
        while ended[1]:
            time.sleep(0.1)  # asks the file how much is left: there is no event to wait for
            ended = _ended(tmp_path)
    finally:
        with contextlib.suppress(AttributeError):
            service.kill()
    acknowledged = set().union(*sets)
    assert len(acknowledged) == count * CLIENTS
    states = ended[0]
    assert acknowledged <= states.keys()
    runs = Counter((tmp_path / "runs").read_text().split())
    letters = Counter(
        json.loads(line)["requestContext"]["requestId"]
        for line in (tmp_path / "outbox" / "failed.jsonl").read_text().splitlines()
    )
    for one in acknowledged:
        bad = KINDS[int(one.partition("-")[2]) % len(KINDS)] == "bad"
        assert states[one] == ("Failed" if bad else "Succeeded")
        assert (letters if bad else runs)[one] >= 1, one
    record("queue under kill -9: invocations acknowledged", len(acknowledged))
    record("queue under kill -9: kills", service.kills)
    record("queue under kill -9: successes run more than once", sum(count > 1 for count in runs.values()))
    record("queue under kill -9: letters delivered more than once", sum(n > 1 for n in letters.values()))


def _ended(root: Path) -> tuple[dict[str, str], int]:
    """States by id, and how much has not ended or not been delivered."""
    connection = sqlite3.connect(f"file:{root / 'queue.sqlite3'}?mode=ro", uri=True, timeout=30)
    try:
        (left,) = connection.execute("SELECT count(*) FROM invocations WHERE due IS NOT NULL").fetchone()
        if left:
            return {}, left
        rows = connection.execute("SELECT request_id, state FROM invocations").fetchall()
        (deliveries,) = connection.execute("SELECT count(*) FROM deliveries").fetchone()
    finally:
        connection.close()
    return {name: state for name, state in rows}, deliveries
