"""A process like the services': a queue, its dispatcher and destinations, and a socket to enqueue through.

It runs until it is killed. Arguments: the directory of its data, the path of its socket. A line "ID KIND" is
answered "ID" once it is durable; "good" invocations succeed, "bad" ones fail for good, "flaky" ones at first,
"throttled" ones are refused now and then. Every run is a line in DIRECTORY/runs.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from invoking import Registry
from snapfork.runner.invocations.destinations import Destinations
from snapfork.runner.invocations.dispatcher import Dispatcher
from snapfork.runner.invocations.model import Invocation, Result
from snapfork.runner.invocations.queue import Queue
from snapfork.runner.registry.errors import Throttled

KINDS = ("good", "bad", "flaky", "throttled")
BOOM = Result(b'{"errorMessage":"no","errorType":"Boom"}', "unhandled", "LATEST")


class Runs:
    """Runs invocations, and writes down that it did."""

    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def invoke(self, invocation: Invocation, tail: bool = False) -> Result:
        kind = invocation.function
        await asyncio.sleep(random.random() * 0.002)
        if kind == "throttled" and random.random() < 0.2:
            raise Throttled("busy")
        if kind == "bad" or (kind == "flaky" and invocation.attempt == 1):
            return BOOM
        os.write(self._fd, f"{invocation.id}\n".encode())
        return Result(b"1", version="LATEST")


async def main(directory: Path, path: str) -> None:
    registry = Registry()
    for kind in KINDS:
        registry.add(
            kind, "runner", retries=2, retry_delays=(0.01,), max_age=None, on_failure="file:///failed.jsonl"
        )
    queue = Queue(directory / "queue.sqlite3")
    await queue.start()
    destinations = Destinations(queue, registry, directory / "outbox")
    dispatcher = Dispatcher(queue, registry, Runs(directory / "runs"), delivered=destinations.wake)
    await destinations.start()
    await dispatcher.start()

    async def enqueue(writer: asyncio.StreamWriter, line: bytes) -> None:
        identity, kind = line.decode().split()
        await queue.enqueue(Invocation(identity, kind, "", b"x" * random.choice((10, 10, 10, 5000))))
        writer.write(identity.encode() + b"\n")

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks = set()
        while line := await reader.readline():
            task = asyncio.create_task(enqueue(writer, line))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_unix_server(client, path)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
