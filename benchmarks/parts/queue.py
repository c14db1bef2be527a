"""The queue of asynchronous invocations: how many are durable, and how many run, in a second.

Enqueueing is measured in this process, callers side by side as the control API's are, beside a bare loop
over SQLite: one table of an id that is unique, made for each row as the callers make theirs, and the same
payload; as many rows a commit as the queue had on average, by one prepared statement; the same PRAGMAs, so
that each commit is synced and as much is written between two checkpoints. And through the API, by as many
kept connections to a runner, with requests that were signed before and whose invocations are not due for an
hour. Dispatch is `runner serve` with a no-op handler and a queue that was filled before it started: the ends
of the invocations, as the queue's file has them, without the first and last tenth.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from snapfork.runner.bench import stats
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.deployed import NATIVE, DeployedRunner, zipped
from snapfork.runner.bench.results import Check, Part, at_least, decide
from snapfork.runner.bench.servers import free_port
from snapfork.runner.errors import UserError
from snapfork.runner.invocations.model import Invocation
from snapfork.runner.invocations.queue import CHECKPOINT_PAGES, Queue

NAME = "queue"
SUMMARY = "asynchronous invocations: durable enqueue beside a bare SQLite loop, dispatch of a no-op"
ENQUEUE = "durable enqueue"
BARE = "bare SQLite loop, as many rows a commit"
ROWS = "rows of a commit"
BY_API = "durable enqueue through the native API"
DISPATCH = "dispatch of a no-op handler"
CALLERS = (16, 64, 256)
PAYLOAD = b'{"order": 1234567, "items": [1, 2, 3], "note": "a payload of usual size"}'
HANDLER = "def handler(event, context):\n    return None\n"
WAIT_S = 300.0


def measure(context: Context) -> Part:
    """One run."""
    part = Part(NAME)
    count = context.count(10_000, 4_000)
    for number in range(context.count(5, 2)):
        for callers in CALLERS:
            context.say(f"enqueue, {callers} callers, round {number + 1}")
            group = f"{callers} callers"
            rate, together = asyncio.run(
                _enqueue(context.work / f"q{number}-{callers}.sqlite3", callers, count)
            )
            part.row(ENQUEUE, "1/s", group=group).samples.append(rate)
            part.row(ROWS, "rows", group=group).samples.append(together)
            bare = _bare(context.work / f"b{number}-{callers}.sqlite3", max(1, round(together)), count)
            part.row(BARE, "1/s", group=group).samples.append(bare)
    _through_api(part, context)
    context.say("dispatch")
    part.row(DISPATCH, "1/s").samples.append(_dispatch(context, context.count(20_000, 5_000)))
    return part


async def _enqueue(file: Path, callers: int, count: int) -> tuple[float, float]:
    """Invocations enqueued in a second, and how many a commit had."""
    queue = Queue(file)
    await queue.start()
    try:
        await _fill(queue, callers, callers)  # not counted
        commits, begun = queue.commits.commits, time.perf_counter()
        await _fill(queue, callers, count)
        seconds = time.perf_counter() - begun
        made = count // callers * callers
        return made / seconds, made / (queue.commits.commits - commits)
    finally:
        await queue.close()


async def _fill(queue: Queue, callers: int, count: int, function: str = "noop") -> None:
    async def caller() -> None:
        for _ in range(count // callers):
            await queue.enqueue(Invocation(str(uuid.uuid4()), function, "", PAYLOAD))

    await asyncio.gather(*(caller() for _ in range(callers)))


def _through_api(part: Part, context: Context) -> None:
    work = context.work / "api"
    work.mkdir()
    with DeployedRunner(work / "data", python=context.python) as runner:
        signer = runner.signer()
        runner.ask(signer.create("noop", zipped({"noop.py": HANDLER}), "noop.handler"))
        target = f"{NATIVE}/noop/invocations?mode=async&delay=3600"
        for number in range(context.count(3, 1) + 1):
            context.say(f"enqueue through the API, round {number}")
            count = context.count(4_000, 1_000)
            wires = [signer.native("POST", target, PAYLOAD) for _ in range(count)]
            rate = asyncio.run(_ask_all(runner, wires, CALLERS[1]))
            if number:  # the first one warms up
                part.row(BY_API, "1/s", group=f"{CALLERS[1]} callers").samples.append(rate)


async def _ask_all(runner: DeployedRunner, wires: list[bytes], callers: int) -> float:
    """How many of the requests are answered in a second, over kept connections side by side."""
    streams = [await asyncio.open_connection(*runner.address) for _ in range(callers)]
    left = iter(wires)

    async def caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for wire in left:
            writer.write(wire)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 202 "):
                raise UserError(f"the runner answered {head[:80]!r}.", runner.tail())

    begun = time.perf_counter()
    await asyncio.gather(*(caller(*stream) for stream in streams))
    seconds = time.perf_counter() - begun
    for _, writer in streams:
        writer.close()
    return len(wires) / seconds


def _bare(file: Path, together: int, count: int) -> float:
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, request_id TEXT UNIQUE, payload BLOB)")
        insert = "INSERT INTO t (request_id, payload) VALUES (?, ?)"

        def commit() -> None:
            connection.execute("BEGIN")
            connection.executemany(insert, ((str(uuid.uuid4()), PAYLOAD) for _ in range(together)))
            connection.execute("COMMIT")

        commit()  # not counted
        begun = time.perf_counter()
        for _ in range(count // together):
            commit()
        return count // together * together / (time.perf_counter() - begun)
    finally:
        connection.close()


def _dispatch(context: Context, count: int) -> float:
    code, data = context.work / "noop", context.work / "data"
    code.mkdir()
    (code / "noop.py").write_text(HANDLER)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(context.work)}
    with _runner(data, environment):
        command = [sys.executable, "-P", "-m", "snapfork.runner", "deploy", str(code)]
        done = subprocess.run(
            [*command, "--name", "noop", "--handler", "noop.handler"],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise UserError("runner deploy failed.", done.stderr)
    asyncio.run(_fill_file(data / "queue.sqlite3", count))
    with _runner(data, environment):
        ends = _ends(data / "queue.sqlite3", count)
    tenth = len(ends) // 10
    middle = ends[tenth : len(ends) - tenth]
    return (len(middle) - 1) / (middle[-1] - middle[0])


async def _fill_file(file: Path, count: int) -> None:
    queue = Queue(file)
    await queue.start()
    try:
        await _fill(queue, 100, count)
    finally:
        await queue.close()


def _ends(file: Path, count: int) -> list[float]:
    """When each invocation ended, once all have."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30.0)
    try:
        deadline = time.monotonic() + WAIT_S
        query = "SELECT count(*) FROM invocations WHERE state = 'Succeeded'"
        while connection.execute(query).fetchone()[0] < count:
            if time.monotonic() > deadline:
                raise UserError("the queue was not empty in time.")
            time.sleep(0.5)
        return [
            row[0] for row in connection.execute("SELECT ended FROM invocations ORDER BY ended").fetchall()
        ]
    finally:
        connection.close()


@contextmanager
def _runner(data: Path, environment: dict[str, str]) -> Iterator[None]:
    """`runner serve` over a data directory; what it says goes to a file beside it."""
    command = [sys.executable, "-P", "-m", "snapfork.runner", "serve", "--no-access-log"]
    where = ["--port", str(free_port()), "--control", f"127.0.0.1:{free_port()}", "--data-dir", str(data)]
    log = data.with_suffix(".log")
    with log.open("ab") as out:
        process = subprocess.Popen([*command, *where], env=environment, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + WAIT_S
        while b"control:" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise UserError("runner serve did not start.", log.read_text()[-2000:])
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        log.write_bytes(b"")


def _share(callers: int, part: Part) -> float | None:
    group = f"{callers} callers"
    return stats.ratio(part.median(ENQUEUE, group), part.median(BARE, group))


def checks(runs: list[Part]) -> list[Check]:
    """What the queue must show on two cores."""
    group = f"{CALLERS[1]} callers"
    rate = decide(runs, lambda part: part.median(ENQUEUE, group))
    shares = [decide(runs, partial(_share, callers)) for callers in CALLERS]
    dispatched = decide(runs, lambda part: part.median(DISPATCH))
    return [
        at_least("5. durable enqueue: at least 3,000/s", rate, 3000, "{:.0f}"),
        *(
            at_least(
                f"5. {callers} callers: at least half of a bare SQLite loop with the same commits", share, 0.5
            )
            for callers, share in zip(CALLERS, shares, strict=True)
        ),
        at_least("5. dispatch of a no-op handler: at least 1,500/s", dispatched, 1500, "{:.0f}"),
    ]
