"""examples/README.md: every command of it, in its order, as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import serve
from server import HANG_S, Serve

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "examples" / "README.md").read_text()
START, ENVIRONMENT = "runner serve & server=$!", 'eval "$(runner key env)"'
# What the output of a command must hold; one that shows what happens by itself is repeated until it does.
SHOWS = {
    "runner deploy examples/event_handler/words.py": r"words: (created|updated), version",
    "runner deploy examples/decorated_app": r"\+ flask==[\d.]+\n.*quotes: created",
    "python examples/event_handler/call_lambda.py": r"200 .*'rose': 3.*\nUnhandled KeyError\n202 queued as",
    "python examples/event_handler/call_fc.py": r'200 .*"rose": 3',
    "python examples/fastapi_rates/rates.py": r"version 1\nhttp://rates\.localhost:\d+/",
    "runner ls": r"quotes .*\nrates .*\nwords .*\nwords-by-boto3 .*\nwords-by-fc ",
    "curl -s http://127.0.0.1:8000/rates/EUR/JPY?amount=10": r'"amount":1642\.0',
    "curl -s http://127.0.0.1:8000/quotes/search/time": r"Benjamin Franklin",
    "runner url rates:live --auth none": r"http://\w+\.lambda-url\.us-east-1\.localhost:\d+/",
    'runner invoke words \'{"text": "A rose': r'"words": {"rose": 3}.*\nEND RequestId',
    'runner invoke words \'{"text": "in its own time"}\'': r"^[0-9a-f-]{36}\n",
    "aws lambda invoke": r'"StatusCode": 200',
    "runner deploy examples/event_handler/words.py --alias live": r"alias live is version 1",
    "runner alias words live 1 --weight 2=0.1": r"alias live is version 1, 10% to 2",
    "runner invoke words:live": r'"version": "[12]"',
    "runner versions words": r"live 90%.*\n.*live 10%",
    "runner alias words live 2": r"alias live is version 2\n",
    "runner dead-letters words": r"KeyError: 'text'",
    "runner dead-letters words --redrive all": r"1 run anew",
    "curl -s http://127.0.0.1:8000/quotes/quotes/3": r'"author"',
    "runner logs quotes --records": r" http +(fork|spare) .*\n.* http +warm ",
    "aws lambda get-provisioned-concurrency-config": r'"Status": "READY"',
    "runner trigger words tick --every": r"trigger tick is on",
    "runner logs thumbnails --text ladder-flask": r"ladder-flask.png: \d+ x \d+, \d+ bytes",
    "runner dead-letters thumbnails": r"4 +Failed +UnidentifiedImageError",
    "runner trigger words tick --rm": r"tick is gone",
    "runner trigger words": r"tick +timer +on",
    "runner logs words --since 10m": r"REPORT RequestId: ",
    "runner logs words --records": r" timer +\w+ [^\n]* 200\b",
    'runner logs "$(': r"schedule .* fetch .* unpack .* start .* initialise .* run .* ms; billed",
    "curl -s http://127.0.0.1:9000/metrics": r"snapfork_\w+{.*words",
    "runner key create": r"secret: ",
    "runner key ls": r"invoke +words .*the web shop",
    "runner logs words --text '7 words'": r"\| 7 words, ",
}  # fmt: skip


def commands() -> list[str]:
    """The lines of all blocks but the first, which installs."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[1:]
    return [line for block in blocks for line in block.replace("\\\n", "").splitlines()]


class Terminal:
    """Types commands in a copy of the examples, beside a runner that it starts and kills as they say."""

    def __init__(self, where: Path) -> None:
        self.where = where
        tools = where / "bin"
        tools.mkdir()
        for name, words in (("runner", "-m snapfork.runner"), ("aws", "-m awscli"), ("python", "")):
            (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            (tools / name).chmod(0o755)
        self.variables = {"PATH": f"{tools}:{os.environ['PATH']}"}
        self.servers: list[Serve] = []
        self.said: list[str] = []

    @property
    def server(self) -> Serve:
        return self.servers[-1]

    def start(self) -> None:
        self.servers.append(serve(self.where / "data").__enter__())
        self.control = self.server.wait_for(r"control: http://(\S+)/status")[1]

    def environment(self) -> None:
        for line in self.run(self.once("runner key env")).splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            self.variables[name] = value.strip("'")

    def once(self, command: str) -> subprocess.CompletedProcess[str]:
        text = command.replace("127.0.0.1:8000", f"127.0.0.1:{self.server.port}")
        return subprocess.run(
            ["sh", "-c", text.replace("127.0.0.1:9000", self.control)], timeout=240, cwd=self.where,
            env=self.server.environment | self.variables, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def run(self, done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 0, (done.args, done.stdout, done.stderr, self.server.tail())
        return done.stdout + done.stderr

    def type(self, command: str) -> None:
        """One line of the README."""
        shown = max((one for one in SHOWS if command.startswith(one)), key=len, default="")
        deadline = time.monotonic() + HANG_S
        while True:
            output = self.run(self.once(command))
            if not shown or re.search(SHOWS[shown], output, re.DOTALL):
                break
            again = command.split()[1] in ("logs", "dead-letters") or "get-provisioned" in command
            assert again and time.monotonic() < deadline, (command, output, self.server.tail())
        if shown:
            self.said.append(shown)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    where = Path(tempfile.mkdtemp(prefix="examples-"))  # functions of root are nobody's, who must read there
    where.chmod(0o755)
    shutil.copytree(ROOT / "examples", where / "examples")
    (where / "benchmarks").mkdir()
    shutil.copy(ROOT / "benchmarks" / "ladder-flask.png", where / "benchmarks")
    one = Terminal(where)
    try:
        yield one
    finally:
        for server in one.servers:
            server.__exit__(None, None, None)
        shutil.rmtree(where)
        shutil.rmtree(f"{where}/data.public", ignore_errors=True)


@pytest.mark.timeout(600)
def test_every_command(terminal: Terminal) -> None:
    for line in commands():
        if line == START:
            terminal.start()
        elif line == ENVIRONMENT:
            terminal.environment()
        elif line == "kill -9 $server":
            terminal.server.process.send_signal(signal.SIGKILL)
            terminal.server.wait_until_nothing_is_left()
            for name in [name for name in terminal.variables if name != "PATH"]:
                del terminal.variables[name]  # it may be on another port next time
        elif line == "kill $server":
            terminal.server.stop()
        elif not line.startswith("sleep "):
            terminal.type(line)
    assert sorted(set(terminal.said)) == sorted(SHOWS), "a command is gone from examples/README.md"


def test_every_example_is_in_the_list() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    there = [path.name for path in (ROOT / "examples").iterdir() if path.is_dir() and path.name[0] != "_"]
    assert sorted(listed) == sorted(there)
    run = (ROOT / "examples" / "run").read_text()
    served = re.findall(r"`sh examples/run (\w+)`", README)
    assert all(f"    {name}) target=" in run for name in served)
