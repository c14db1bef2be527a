"""Results on their way: to functions, to HTTP servers that refuse, are slow or gone, to files."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from invoking import Clock, Obedient, Registry, invocation, until
from snapfork.runner.invocations import targets
from snapfork.runner.invocations.destinations import GIVE_UP_S, Destinations
from snapfork.runner.invocations.dispatcher import Dispatcher
from snapfork.runner.invocations.item import Delivery
from snapfork.runner.invocations.model import Task
from snapfork.runner.invocations.queue import Queue
from snapfork.runner.invocations.targets import Target
from snapfork.runner.policy import chains
from snapfork.runner.registry.errors import Invalid


class Sink(ThreadingHTTPServer):
    """Keeps what it is sent; answers with what `answers` has next, else 200. `hold`: until it is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.hold: threading.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        sink = self.server
        assert isinstance(sink, Sink)
        body = self.rfile.read(int(self.headers["content-length"]))
        if sink.hold is not None:
            sink.hold.wait(30)
        sink.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(sink.answers.pop(0) if sink.answers else 200)
        self.send_header("location", sink.url)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def sink() -> Iterator[Sink]:
    server = Sink()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    if server.hold is not None:
        server.hold.set()
    server.shutdown()
    server.server_close()


class Rig:
    def __init__(self, root: Path) -> None:
        self.clock = Clock()
        self.registry = Registry()
        self.registry.add("f")
        self.outbox = root / "outbox"
        self.queue = Queue(root / "queue.sqlite3", self.clock)
        self.destinations = Destinations(self.queue, self.registry, self.outbox, self.clock)
        self.count = 0

    async def end(self, *deliveries: str, kind: str = "on_success", body: bytes = b'{"a":1}') -> str:
        """An invocation ends and has something for these targets; its request id."""
        self.count += 1
        one = invocation(self.count, "source")
        await self.queue.enqueue(one, task_id=one.id)
        ((item,), _) = await self.queue.take("source", 1)
        made = [
            Delivery(
                target, kind, "source", one.id, body, "lambda",
                (("ErrorMessage", "no\r\nX: é"),) if kind == "dead_letter" else (), created=self.clock.now,
            )
            for target in deliveries
        ]  # fmt: skip
        self.queue.end(item, "Succeeded", deliveries=made)
        self.destinations.wake()
        return one.id

    async def status(self, request_id: str) -> str:
        return (await self.queue.get("source", request_id)).destination_status

    async def settled(self, request_id: str) -> str:
        while not (status := await self.status(request_id)):
            await asyncio.sleep(0.002)
        return status

    async def move(self, seconds: float) -> None:
        self.clock.now += seconds
        self.destinations.wake()


def rig(root: Path, test: Callable[[Rig], Awaitable[None]]) -> None:
    async def run() -> None:
        one = Rig(root)
        await one.queue.start()
        await one.destinations.start()
        try:
            await test(one)
        finally:
            await one.destinations.close()
            await one.queue.close()

    asyncio.run(run())


def test_a_function_gets_the_record_as_an_invocation(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        arn = "arn:aws:lambda:eu-west-1:123456789012:function:f:prod"
        request_id = await one.end(arn)
        assert await one.settled(request_id) == "Succeeded"
        ((item,), _) = await one.queue.take("f", 10)
        got = item.invocation()
        assert (got.function, got.qualifier, got.payload, got.trigger) == (
            "f",
            "prod",
            b'{"a":1}',
            "destination",
        )

    rig(tmp_path, test)


def test_a_function_that_is_not_there_is_given_up(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        assert (await one.settled(await one.end("nobody"))).startswith("Failed: There is no function nobody")
        assert (await one.settled(await one.end("what is this?"))).startswith("Failed: ")

    rig(tmp_path, test)


def test_an_address_gets_a_post(tmp_path: Path, sink: Sink) -> None:
    async def test(one: Rig) -> None:
        request_id = await one.end(sink.url)
        assert await one.settled(request_id) == "Succeeded"
        ((headers, body),) = sink.got
        assert (body, headers["content-type"]) == (b'{"a":1}', "application/json")
        assert headers["x-snapfork-request-id"] == request_id
        assert (headers["x-snapfork-function"], headers["x-snapfork-kind"]) == ("source", "on_success")
        await one.settled(await one.end(sink.url, kind="dead_letter", body=b"raw"))
        headers, body = sink.got[1]
        assert (body, headers["x-snapfork-errormessage"]) == (b"raw", "no  X: é")

    rig(tmp_path, test)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_is_not_taken_is_brought_again_later_and_later(tmp_path: Path, sink: Sink, status: int) -> None:
    sink.answers = [status] * 3

    async def test(one: Rig) -> None:
        request_id = await one.end(sink.url)
        for number, delay in enumerate((1, 2, 4), 1):
            await until(lambda number=number: len(sink.got) == number)
            while (await one.queue.deliveries(10))[1] != one.clock.now + delay:
                await asyncio.sleep(0.002)
            await one.move(delay - 0.1)
            await one.move(0.1)
        assert await one.settled(request_id) == "Succeeded"
        assert len(sink.got) == 4

    rig(tmp_path, test)


def test_after_a_day_it_is_given_up(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        request_id = await one.end("http://127.0.0.1:9/closed")
        while (await one.queue.deliveries(10))[1] is None:
            await asyncio.sleep(0.002)
        await one.move(GIVE_UP_S + 1)
        assert (await one.settled(request_id)).startswith(
            "Failed: http://127.0.0.1:9/closed cannot be reached"
        )

    rig(tmp_path, test)


def test_a_slow_address_holds_up_no_other(tmp_path: Path, sink: Sink) -> None:
    sink.hold = threading.Event()

    async def test(one: Rig) -> None:
        slow = [await one.end(sink.url) for _ in range(300)]
        quick = await one.end("file:///quick.jsonl")
        assert await one.settled(quick) == "Succeeded"
        assert await one.status(slow[-1]) == ""
        assert sink.hold is not None
        sink.hold.set()
        for request_id in slow:
            assert await one.settled(request_id) == "Succeeded"

    rig(tmp_path, test)


def test_lines_of_a_file(tmp_path: Path) -> None:
    async def test(one: Rig) -> None:
        ids = [await one.end("file:///orders/failed.jsonl", body=b'{"n":%d}' % n) for n in range(500)]
        for request_id in ids:
            assert await one.settled(request_id) == "Succeeded"
        file = one.outbox / "orders" / "failed.jsonl"
        assert sorted(json.loads(line)["n"] for line in file.read_text().splitlines()) == list(range(500))
        assert file.stat().st_mode & 0o777 == 0o600
        absolute = await one.end(f"file://{one.outbox}/abs.jsonl", kind="dead_letter", body=b"\xff")
        assert await one.settled(absolute) == "Succeeded"
        assert json.loads((one.outbox / "abs.jsonl").read_text())["ErrorMessage"] == "no\r\nX: é"

    rig(tmp_path, test)


def test_no_link_leads_out_of_the_outbox(tmp_path: Path) -> None:
    outbox, outside = tmp_path / "outbox", tmp_path / "outside"
    outbox.mkdir()
    outside.mkdir()
    (outbox / "dir").symlink_to(outside)
    (outside / "target.jsonl").write_text("")
    (outbox / "file.jsonl").symlink_to(outside / "target.jsonl")
    for name in ("dir/a.jsonl", "file.jsonl"):
        with pytest.raises(OSError):
            targets.append_lines(outbox, name, [b"{}"])
    assert sorted(file.name for file in outside.iterdir()) == ["target.jsonl"]
    assert (outside / "target.jsonl").read_text() == ""


def test_what_was_not_delivered_is_after_a_restart(tmp_path: Path, sink: Sink) -> None:
    sink.answers = [500]

    async def first(one: Rig) -> None:
        await one.end(sink.url)
        while (await one.queue.deliveries(10))[1] is None:
            await asyncio.sleep(0.002)

    async def second(one: Rig) -> None:
        await one.move(1)
        assert await one.settled("id-1") == "Succeeded"

    rig(tmp_path, first)
    rig(tmp_path, second)
    assert len(sink.got) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f", Target("function", "f")),
        ("f:prod", Target("function", "f", "prod")),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f", Target("function", "f")),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f:$LATEST", Target("function", "f", "$LATEST")),
        ("acs:fc:cn-hangzhou:1:functions/f", Target("function", "f")),
        ("acs:fc:cn-hangzhou:1:functions/f/prod", Target("function", "f", "prod")),
        ("acs:fc:::services/s.LATEST/functions/f", Target("function", "f")),
        ("https://a.example/x?y=1", Target("http", "https://a.example/x?y=1")),
        ("file:///a/b.jsonl", Target("file", "a/b.jsonl")),
    ],
)
def test_addresses(text: str, expected: Target) -> None:
    assert targets.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "http://", "http://a b/", "http://a:99999/", "ftp://a/", "file://host/a.jsonl",
        "file:///a.txt",
        "file:///../a.jsonl", "file:///a/%2e%2e/%2e%2e/b.jsonl", "file:///", "arn:aws:sqs:eu:1:q", "a b",
        "http://a/\r\nX: y",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(Invalid):
        targets.parse(text)


class Ring:
    """Functions that are each other's destinations, over the real parts; every run is kept in `seen`."""

    def __init__(self, directory: Path) -> None:
        self.registry = Registry()
        self.invoker = Obedient()
        self.queue = Queue(directory / "queue.sqlite3")
        self.destinations = Destinations(self.queue, self.registry, directory / "outbox")
        self.dispatcher = Dispatcher(
            self.queue, self.registry, self.invoker, delivered=self.destinations.wake
        )

    async def __aenter__(self) -> Ring:
        await self.queue.start()
        await self.destinations.start()
        await self.dispatcher.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.dispatcher.close()
        await self.destinations.close()
        await self.queue.close()

    def runs(self) -> Counter[str]:
        return Counter(one.function for one in self.invoker.seen)

    async def letter(self) -> Task:
        """The dead letter, once there is one and nothing more is under way."""
        while True:
            sizes = await self.queue.sizes()
            if not (sizes.rows.keys() & {"Enqueued", "Dequeued", "Running", "Retrying"}) and sizes.dead:
                (found,), _ = await self.queue.dead_letters()
                return found
            await asyncio.sleep(0.001)


def ring(directory: Path, test: Callable[[Ring], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Ring(directory) as one:
            await test(one)

    asyncio.run(run())


def test_a_function_that_is_its_own_destination_ends(tmp_path: Path) -> None:
    async def test(one: Ring) -> None:
        one.registry.add("f", on_success="f", on_failure="f", dead_letter="file:///dead.jsonl")
        await one.queue.enqueue(invocation(1))
        letter = await one.letter()
        assert one.runs() == {"f": chains.LIMIT}
        assert letter.error == chains.ERROR and letter.state == "Failed"
        while not (tmp_path / "outbox" / "dead.jsonl").exists():
            await asyncio.sleep(0.001)
        told = json.loads((tmp_path / "outbox" / "dead.jsonl").read_text())
        assert told["ErrorMessage"] == chains.ERROR
        # Whoever runs it again by hand wants it to run.
        await one.queue.redrive([letter.request_id])
        await one.letter()
        assert one.runs() == {"f": 2 * chains.LIMIT}

    ring(tmp_path, test)


def test_two_that_are_each_others_destination_end(tmp_path: Path) -> None:
    async def test(one: Ring) -> None:
        one.registry.add("f", on_success="g", on_failure="g")
        one.registry.add("g", "fc", on_success="f", on_failure="f")
        await one.queue.enqueue(invocation(1))
        letter = await one.letter()
        assert (letter.function, letter.error) == ("f", chains.ERROR)
        assert one.runs() == {"f": chains.LIMIT, "g": chains.LIMIT}

    ring(tmp_path, test)


def test_who_is_told_of_a_loop_is_told(tmp_path: Path) -> None:
    async def test(one: Ring) -> None:
        one.registry.add("f", on_success="f", on_failure="told")
        one.registry.add("told")
        await one.queue.enqueue(invocation(1))
        await until(lambda: one.runs() == {"f": chains.LIMIT, "told": 1})
        record = json.loads(one.invoker.seen[-1].payload)
        assert record["requestContext"]["condition"] == "RetriesExhausted"

    ring(tmp_path, test)


def test_a_function_that_allows_loops_goes_on(tmp_path: Path) -> None:
    async def test(one: Ring) -> None:
        one.registry.add("f", on_success="f")
        latest = one.registry.versions["f"]
        extra = {chains.SETTING: "Allow"}
        one.registry.versions["f"] = replace(latest, configuration=replace(latest.configuration, extra=extra))
        await one.queue.enqueue(invocation(1))
        await until(lambda: len(one.invoker.seen) > 2 * chains.LIMIT)

    ring(tmp_path, test)
