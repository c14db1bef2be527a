"""A base, a template and forks of it as they really are; a gateway in miniature gives the orders."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eventserved import FUNCTION, EventGateway
from minigateway import GENERATION, PATIENCE, SLOTS
from snapfork.runner.processes import boot
from snapfork.runner.services.frames import FrameParser
from snapfork.runner.wire import fds, frames, page
from snapfork.runner.wire.guard import Guard


class Template:
    """The template of the function whose module index.py has this `source`; `order` is laid over the usual.

    `ready` is its report, `failed` what it says in its place, `stages` name -> milliseconds.
    """

    def __init__(self, directory: Path, source: str, target: str = "index:handler", **order: Any) -> None:
        (directory / "index.py").write_text(textwrap.dedent(source))
        self.life, self._life_write = os.pipe2(os.O_CLOEXEC)
        self.base, base_end = fds.pair()
        setup = {
            "control": base_end.fileno(),
            "life": self.life,
            "borrow": [],
            "threads": {},
            "nofile": 1024,
            "access": 2,
            "user": None,
        }
        self._process = subprocess.Popen(
            [sys.executable, str(boot.__file__), json.dumps(setup)],
            pass_fds=(base_end.fileno(), self.life),
            stdin=subprocess.DEVNULL,
        )
        base_end.close()
        self.control, theirs = fds.pair()
        self.log, log_write = os.pipe2(os.O_CLOEXEC)
        usual = {
            "function": "shop:3",
            "target": target,
            "app_dir": str(directory),
            "overrides": {},
            "routes": [{"host": None, "prefix": "", "function": "shop:3"}],
            "skip_warmup": [],
            "generation": GENERATION,
            "trusted_proxies": ["unix"],
            "access_log": "off",
            "boot_id": "0123abcd",
            "keep": False,
            "elsewhere": False,
            "data_dir": str(directory),
            "config_home": str(directory),
            "forget": "",
            "kind": "auto",
            "context": FUNCTION | {"dialect": "lambda"},
            "record": True,
        }
        self.order = usual | order
        message = {"op": "load", "number": 1, "order": self.order}
        fds.send(self.base, frames.pack_json(message), (theirs.fileno(), log_write))
        theirs.close()
        os.close(log_write)
        self.stages: dict[str, float] = {}
        self.ready: dict[str, Any] = {}
        self.failed: dict[str, Any] = {}
        self.numbers = 0

    def __enter__(self) -> Self:
        deadline = time.monotonic() + PATIENCE
        while not (self.ready or self.failed):
            message = self._message(deadline)
            if "stage" in message:
                self.stages[message["stage"]["name"]] = message["stage"]["ms"]
            self.ready = message.get("ready", {})
            self.failed = message.get("failed", {})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            sys.__stdout__.write(self.output())  # type: ignore[union-attr]
        os.close(self._life_write)  # ends them all
        self._process.wait()
        self.control.close()
        self.base.close()
        os.close(self.life)
        os.close(self.log)

    def _message(self, deadline: float) -> dict[str, Any]:
        buffer = bytearray(fds.MAX_MESSAGE)
        left = max(0.0, deadline - time.monotonic())
        if not select.select([self.control], [], [], left)[0]:
            raise TimeoutError(self.output())
        size, received = fds.receive(self.control, buffer)
        fds.close_all(received)
        if size == 0:
            raise EOFError(self.output())
        return frames.unpack_json(memoryview(buffer)[:size]) if buffer[0] == frames.JSON else {}

    def output(self) -> str:
        """What the template has printed."""
        said = b""
        while select.select([self.log], [], [], 0)[0] and (data := os.read(self.log, 65536)):
            said += data
        return "\n".join(unit.text for unit in FrameParser().feed(said))

    def start(self, *, trial: bool = False) -> Instance:
        """A new instance: a fork of the template, or, if it is to be spawned, of the base."""
        self.numbers += 1
        starter = self.control
        if self.ready["mode"] == "spawn":
            starter = self.base
            if self.numbers == 1:
                interface = self.ready["interface"]
                order = {"op": "spawn", "generation": GENERATION, "order": self.order, "interface": interface}
                fds.send(self.base, frames.pack_json(order))
        return Instance(starter, self.numbers, trial)


class Instance(EventGateway):
    """One instance; see `EventGateway` for what can be asked of it. `reports` holds what it told in JSON."""

    unit = "shop:3"

    def __init__(self, starter: socket.socket, number: int, trial: bool) -> None:
        self._set_up(unix=False)
        self.reports: list[dict[str, Any]] = []
        page_fd = page.make_page(SLOTS)
        self.words = page.map_words(page_fd)
        self.guard = Guard(page_fd)
        self.words[page.W_GENERATION] = GENERATION
        self.control, theirs = fds.pair()
        self.pipe, write = os.pipe2(os.O_CLOEXEC)
        start = frames.FORK
        order = frames.StartFrame(start, trial, SLOTS, number, GENERATION, time.monotonic_ns(), b"")
        fds.send(starter, frames.pack_start(order), (theirs.fileno(), page_fd, write))
        theirs.close()
        os.close(write)
        self.pid = 0
        self.parser, self.units = FrameParser(), []

    def wait_end(self) -> None:
        """Wait until the instance has closed its socket."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._read(deadline)
            except EOFError:
                return

    def _other(self, data: memoryview) -> None:
        if data[0] == frames.JSON:
            self.reports.append(frames.unpack_json(data))

    def errors(self) -> str:
        return "\n".join(unit.text for unit in self.said())
