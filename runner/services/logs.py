"""The log process: one pipe per instance in, one stream of attributed lines out.

It runs beside the gateway, so that an app which prints a lot costs no request any time. When its own
output is stuck it stops reading; the pipes fill, and the instances drop their oldest lines. Where functions
are deployed it also keeps lines, and the records that instances write between them, in the telemetry store.
"""

from __future__ import annotations

import json
import os
import re
import resource
import select
import selectors
import socket
import sqlite3
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from snapfork.runner.outlet import Outlet
from snapfork.runner.processes import life, privileges
from snapfork.runner.services.frames import ACCESS, RECORD, FrameParser, Unit
from snapfork.runner.services.keeper import Keeper
from snapfork.runner.wire import fds

READ = 65536
WHOLE = 1 << 20  # /proc/sys/fs/pipe-max-size as it is by default
PAUSE_ABOVE = 256 * 1024  # bytes of output that wait before reading stops
_ESCAPED = {code: f"\\x{code:02x}" for code in [*range(9), *range(11, 32), *range(127, 160)]}
"""What a terminal would act upon, of what deployed functions print; tabs and ends of lines stay."""
_ACCESS_LINE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) \S+ ([^\n]* \d+ \d+ [\d.]+ms( \w+)? \S+)"
)
_ACCESS_EVENTS = ("request", "access_lines_dropped")
KEEP_AGAIN_S = 1.0
LAST_WORDS = 2.0  # seconds for the pipes to end once the gateway has closed its side


@dataclass
class Source:
    """One pipe and who writes into it."""

    function: str
    instance: str
    pid: int
    parser: FrameParser = field(default_factory=FrameParser)


def render(source: Source, unit: Unit, now: float, as_json: bool) -> bytes:
    """The output for one unit: a line of JSON, or each line of it behind the same prefix."""
    if unit.stream == ACCESS and (line := access_line(source.function, unit.text)) is not None:
        return line.encode("utf-8", "backslashreplace") + b"\n"
    if as_json:
        entry = {
            "time": round(now, 3),
            "event": "output",
            "function": source.function,
            "instance": source.instance,
            "pid": source.pid,
            "request_id": unit.request_id,
            "stream": unit.stream,
            "text": unit.text,
        }
        return json.dumps(entry).encode() + b"\n"
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    prefix = f"{clock} {source.function}/{source.instance} {unit.request_id} | "
    text = unit.text.translate(_ESCAPED) if ":" in source.function else unit.text
    lines = text.split("\n")
    return "".join(f"{prefix}{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def access_line(function: str, text: str) -> str | None:
    """An access line as a function of that name may have it; None where `text` is none.

    It is the word of a process that runs the function's code.
    """
    if text.startswith("{"):
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(entry, dict) or entry.get("event") not in _ACCESS_EVENTS:
            return None
        return json.dumps(entry | {"function": function})
    if (match := _ACCESS_LINE.fullmatch(text)) is None:
        return None
    return f"{match[1]} {function} {match[2]}".translate(_ESCAPED)


class LogProcess:
    """Reads registrations from the gateway and output from the pipes until both have ended."""

    def __init__(
        self, control: socket.socket, as_json: bool, out_fd: int, kept: Mapping[str, str] | None = None
    ) -> None:
        self.control = control
        self._kept = kept
        self._keep_at = 0.0
        self.keeper: Keeper | None = None
        self.as_json = as_json
        self.outlet = Outlet(out_fd, limit=1 << 22)
        self.sources: dict[int, Source] = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(control, selectors.EVENT_READ)
        self.deadline: float | None = None
        self.paused = False
        self._buffer = bytearray(fds.MAX_MESSAGE)

    def run(self) -> None:
        """Serve until the gateway has closed its side and the pipes have ended or the time is up."""
        while self.deadline is None or (self.sources and time.monotonic() < self.deadline):
            if self._kept is not None and self.keeper is None and time.monotonic() >= self._keep_at:
                self._keep(self._kept)
            for key, _ in self.selector.select(self._timeout()):
                if key.fileobj is self.control:
                    self._register()
                elif key.fd in self.sources:
                    self._read(key.fd)
                elif self.keeper is not None and self._ask_keeper(self.keeper, key.fd):
                    break  # what else was ready may be closed by now, and its number be another pipe's
            self._breathe()
            if self.keeper is not None:
                self.keeper.turn(time.monotonic(), time.time())
        self.outlet.flush(int(LAST_WORDS * 1000))
        if self.keeper is not None:
            self.keeper.close()

    def _timeout(self) -> float | None:
        if self.paused or self.outlet.size:
            return 0.05  # a stuck output is asked again; files and terminals cannot all be polled
        if self.keeper is not None and self.keeper.waits:
            return self.keeper.FLUSH_S
        if self.deadline is not None:
            return max(0.0, self.deadline - time.monotonic())
        return KEEP_AGAIN_S if self._kept is not None and self.keeper is None else None

    def _keep(self, kept: Mapping[str, str]) -> None:
        """Keep what comes from now on; a disk that is too full to begin now will not always be."""
        try:
            self.keeper = Keeper(kept["store"], kept["socket"])
        except (OSError, sqlite3.Error) as error:
            if not self._keep_at:
                said = f"Lines and records are not kept until this can be written: {kept['store']}: {error}."
                print(said, file=sys.stderr, flush=True)
            self._keep_at = time.monotonic() + KEEP_AGAIN_S
        else:
            self.selector.register(self.keeper.listener, selectors.EVENT_READ)

    def _ask_keeper(self, keeper: Keeper, fd: int) -> bool:
        """Hear whoever wants something of the keeper; True when the pipes have been read for it."""
        if fd == keeper.listener.fileno():
            visitor = keeper.admit()
            if visitor is not None:
                self.selector.register(visitor, selectors.EVENT_READ)
            return False
        wish = keeper.read(fd)
        if wish == "gone":
            self.selector.unregister(fd)
            keeper.dismiss(fd)
        elif wish == "sync":
            self._catch_up()
            keeper.answer(fd)
        elif wish == "ending":
            self._catch_up()
            self._say_endings(keeper)
        return wish in ("sync", "ending")

    def _say_endings(self, keeper: Keeper) -> None:
        now = time.time()
        while keeper.endings:
            function, instance, unit = keeper.endings.popleft()
            self.outlet.write(render(Source(function, instance, 0), unit, now, self.as_json))
            keeper.take(function, instance, unit, now)

    def _catch_up(self) -> None:
        """Read all that had been written before now."""
        while select.select([self.control], [], [], 0)[0] and self._register():
            pass
        for fd in list(self.sources):
            if not self.paused and select.select([fd], [], [], 0)[0]:
                self._read(fd, whole=True)

    def _register(self) -> bool:
        """Take one message of the gateway; False at its end."""
        try:
            size, received = fds.receive(self.control, self._buffer)
        except OSError:  # the gateway's end was reset: it is gone
            size, received = 0, []
        if size == 0:
            self.selector.unregister(self.control)
            self.deadline = time.monotonic() + LAST_WORDS
            return False
        message: dict[str, Any] = json.loads(self._buffer[:size])
        for fd in received:
            source = Source(message["function"], str(message["instance"]), int(message.get("pid") or 0))
            self.sources[fd] = source
            if not self.paused:
                self.selector.register(fd, selectors.EVENT_READ)
        return True

    def _read(self, fd: int, whole: bool = False) -> None:
        """Take what is in a pipe: one read of it, or (`whole`) as much as it can have held."""
        source = self.sources[fd]
        data = os.read(fd, WHOLE if whole else READ)
        now = time.time()
        units = source.parser.feed(data) if data else source.parser.finish()
        for unit in units:
            if unit.stream != RECORD:
                self.outlet.write(render(source, unit, now, self.as_json))
            if self.keeper is not None and unit.stream != ACCESS:
                self.keeper.take(source.function, source.instance, unit, now)
        if not data:
            self.selector.unregister(fd)
            del self.sources[fd]
            os.close(fd)

    def _breathe(self) -> None:
        """Write what waits; stop reading while too much does."""
        self.outlet.flush()
        pause = self.outlet.size > PAUSE_ABOVE
        if pause == self.paused:
            return
        self.paused = pause
        for fd in self.sources:
            if pause:
                self.selector.unregister(fd)
            else:
                self.selector.register(fd, selectors.EVENT_READ)


def main() -> None:
    """Argument: JSON {"fd", "life_fd", "json", "out_fd", "telemetry": null or {"store", "socket"}}."""
    setup = json.loads(sys.argv[1])
    privileges.hide()
    life.arm(setup["life_fd"])
    life.shield()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    control = socket.socket(fileno=setup["fd"])
    LogProcess(control, setup["json"], setup["out_fd"], setup.get("telemetry")).run()


if __name__ == "__main__":
    main()
