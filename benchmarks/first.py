"""A first honest number: what one start costs, here and with the peers, measured in one run.

    python benchmarks/first.py [--rounds 5] [--starts 40] [--json FILE]

One Flask app. Every figure is the time that a client sees on a new connection, from connect() to the first
byte of the answer, but for three kinds of rows: a bare fork (of a process holding this very app) to the
child's first byte, which is the floor; fresh starts, from exec of the server to its first 200; and requests
on a kept connection, from sending to the first byte. Rounds of all rows are interleaved.

A spare is a started process, so it stands beside the peers' idle workers. gunicorn's default worker keeps no
connection, its gthread worker does. uvicorn serves Flask through its bridge to WSGI: an app written for it
has a shorter way.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

APPS = Path(__file__).resolve().parent / "apps"
REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
KEPT_REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
LAST_BYTES = b"hello\n"  # of hello_flask's answer
START_DEADLINE_S = 30.0
PEERS = ("gunicorn", "gunicorn gthread", "uvicorn")
MEANINGFUL_P99 = 100  # samples

BARE_FORK = """
import gc, os, sys, time
sys.path.insert(0, sys.argv[1])
from hello_flask import app
app.test_client().get("/")
gc.collect(); gc.freeze()
for _ in range(int(sys.argv[2])):
    read, write = os.pipe()
    begun = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"x")
        os._exit(0)
    os.read(read, 1)
    print((time.perf_counter() - begun) * 1000)
    os.waitpid(pid, 0); os.close(read); os.close(write)
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def request_ms(port: int) -> float:
    """Milliseconds from connect() to the first byte of a 200 on a new connection."""
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(REQUEST)
        first = sock.recv(65536)
        elapsed = (time.perf_counter() - begun) * 1000
        while sock.recv(65536):
            pass
    if b" 200 " not in first[:15]:
        raise SystemExit(f"port {port} answered {first[:40]!r}")
    return elapsed


def kept_ms(port: int, count: int) -> list[float]:
    """Milliseconds from sending to the first byte, of requests one after the other on one connection."""
    samples = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count + 1):
            begun = time.perf_counter()
            sock.sendall(KEPT_REQUEST)
            answer = sock.recv(65536)
            samples.append((time.perf_counter() - begun) * 1000)
            while not answer.endswith(LAST_BYTES):
                more = sock.recv(65536)
                if not more:
                    raise SystemExit(f"port {port} does not keep its connections")
                answer += more
    return samples[1:]  # the first one includes what a new connection costs


@contextmanager
def running(command: list[str], ready: Callable[[subprocess.Popen[bytes]], int]) -> Iterator[int]:
    """Run a server; gives what `ready` returns (its port) and stops it afterwards."""
    process = subprocess.Popen(
        command, cwd=APPS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield ready(process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_DEADLINE_S)


def runner_command(*options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "snapfork.runner",
        "serve",
        "hello_flask:app",
        "--port=0",
        "--no-access-log",
        *options,
    ]


class Runner:
    """A running `runner serve`: its port, and its state through the control API."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.port = self.control = 0
        for line in process.stdout or ():
            if found := re.search(rb"control: http://127\.0\.0\.1:(\d+)", line):
                self.control = int(found[1])
            if found := re.search(rb"serving on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
            if self.port and self.control:
                return
        raise SystemExit("runner serve ended before it served")

    def wait_for(self, state: str, count: int) -> None:
        """Wait until exactly `count` instances are in `state` and none starts."""
        while True:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.control}/status") as answer:
                instances = json.load(answer)["functions"][0]["instances"]
            states = [one["state"] for one in instances]
            if states.count(state) == count and "starting" not in states:
                return
            time.sleep(0.002)


def bare_fork(count: int) -> list[float]:
    command = [sys.executable, "-c", BARE_FORK, str(APPS), str(count)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return [float(line) for line in done.stdout.split()]


def starts(count: int, spares: int) -> list[float]:
    """Each request starts an instance: forked for it, or a spare that was ready."""
    holder: list[Runner] = []

    def ready(process: subprocess.Popen[bytes]) -> int:
        holder.append(Runner(process))
        return holder[0].port

    samples = []
    with running(runner_command(f"--spares={spares}", "--max-requests=1"), ready) as port:
        for _ in range(count):
            if spares:
                holder[0].wait_for("spare", spares)
            samples.append(request_ms(port))
    return samples


def warm(count: int) -> tuple[list[float], list[float]]:
    """(requests on new connections, requests on a kept one) of an idle instance."""
    with running(runner_command(), lambda process: Runner(process).port) as port:
        for _ in range(5):
            request_ms(port)
        return [request_ms(port) for _ in range(count)], kept_ms(port, count)


def peer_command(peer: str, port: int) -> list[str]:
    if peer != "uvicorn":
        worker = ["-w", "1", "-k", "gthread" if peer == "gunicorn gthread" else "sync"]
        return [sys.executable, "-m", "gunicorn", *worker, "-b", f"127.0.0.1:{port}", "hello_flask:app"]
    options = ["--port", str(port), "--interface", "wsgi", "--no-access-log", "--log-level", "error"]
    return [sys.executable, "-m", "uvicorn", *options, "hello_flask:app"]


def peer_start(peer: str, count: int) -> tuple[float, list[float], list[float]]:
    """(milliseconds from exec to the first 200, requests on its idle worker, on a kept connection to it)."""
    port = free_port()
    begun = time.perf_counter()

    def ready(process: subprocess.Popen[bytes]) -> int:
        while time.perf_counter() - begun < START_DEADLINE_S:
            try:
                request_ms(port)
            except ConnectionError:
                if process.poll() is not None:
                    break
                time.sleep(0.001)
                continue
            return port
        raise SystemExit(f"{peer} did not start; is it installed?")

    with running(peer_command(peer, port), ready):
        fresh = (time.perf_counter() - begun) * 1000
        idle = [request_ms(port) for _ in range(count)]
        return fresh, idle, [] if peer == "gunicorn" else kept_ms(port, count)


def measure(rounds: int, count: int) -> dict[str, list[float]]:
    """All rows, `rounds` times, one after the other."""
    samples: dict[str, list[float]] = {}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        samples.setdefault("bare fork (floor)", []).extend(bare_fork(count))
        samples.setdefault("fork start", []).extend(starts(count, 0))
        samples.setdefault("spare start", []).extend(starts(count, 1))
        new, kept = warm(count)
        samples.setdefault("warm", []).extend(new)
        samples.setdefault("warm, kept connection", []).extend(kept)
        for peer in PEERS:
            fresh, idle, kept = peer_start(peer, count)
            samples.setdefault(f"{peer} idle worker", []).extend(idle)
            if kept:
                samples.setdefault(f"{peer} idle worker, kept connection", []).extend(kept)
            samples.setdefault(f"{peer} fresh start", []).append(fresh)
    return samples


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processors": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "versions": {
            name: metadata.version(name) for name in ("flask", "gunicorn", "uvicorn", "uvloop", "httptools")
        },
    }


def table(samples: dict[str, list[float]]) -> str:
    """Markdown: median, p99 (of a hundred samples and more), and how many fork starts fit into the median."""
    fork = statistics.median(samples["fork start"])
    lines = ["| start | median ms | p99 ms | x fork start | n |", "|---|---|---|---|---|"]
    for name, values in samples.items():
        ordered = sorted(values)
        p99 = f"{ordered[int(len(ordered) * 0.99)]:.2f}" if len(ordered) >= MEANINGFUL_P99 else "-"
        median = statistics.median(ordered)
        lines.append(f"| {name} | {median:.2f} | {p99} | {median / fork:.2f} | {len(values)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each row is measured (default 5)")
    parser.add_argument("--starts", type=int, default=40, help="starts and requests per round (default 40)")
    parser.add_argument("--json", help="file for the raw samples")
    chosen = parser.parse_args()
    before = machine()
    samples = measure(chosen.rounds, chosen.starts)
    print(table(samples))
    print(f"\n{json.dumps(before)}")
    if chosen.json:
        Path(chosen.json).write_text(json.dumps({"machine": before, "ms": samples}, indent=1))


if __name__ == "__main__":
    main()
