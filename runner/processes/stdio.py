"""An instance's standard output and error: framed lines into its own pipe, never waiting for the reader.

A unit is what one write (or one line, or one traceback) said. It travels as frames

    \\x1e <O|E|I|A> <request id or -> \\x1f <length> \\x1f <payload>

of at most PIPE_BUF bytes, each written at once, so that no other writer's bytes land inside. A small letter
says that the unit goes on in the next frame. "I" is the record of a request (see `ledger`), "A" an access
line of a deployed function, "D" carries the number of lines that were dropped. Bytes between frames are what
C code and child processes wrote to descriptors 1 and 2 themselves.

The streams are put in place once, in the base template (`prepare`), before user code can keep a reference
to the old ones; `install` then only changes where they lead.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from snapfork.runner.processes import serving

FRAME = 4096  # PIPE_BUF: a write up to this size is atomic
RING = 256 * 1024  # bytes kept for a reader that is slow
HEADER_ROOM = 128
PATIENCE_S = 1.0
"""How long an invocation may wait in all, in its own time, for a reader that is slow."""
TRACEBACK = b"Traceback (most recent call last)"

Unit = list[bytes]


def frames(kind: str, request_id: str, payload: bytes) -> Unit:
    """`payload` as the frames of one unit."""
    ident = request_id[: HEADER_ROOM - 16].encode("ascii", "replace") or b"-"
    room = FRAME - HEADER_ROOM
    pieces = [payload[start : start + room] for start in range(0, len(payload), room)] or [b""]
    result = []
    for number, piece in enumerate(pieces, 1):
        letter = kind if number == len(pieces) else kind.lower()
        result.append(b"\x1e%s%s\x1f%d\x1f%s" % (letter.encode(), ident, len(piece), piece))
    return result


class Sink:
    """Where units go: an own non-blocking description of the pipe, with a bounded ring in front.

    Until `lead` has named a pipe, units pass unframed to the descriptors that the process started with.
    """

    def __init__(self) -> None:
        self.fd = -1
        self.dropped = 0
        self.lost = 0  # lines dropped since the pipe was named
        self.on_loss: Callable[[int], None] | None = None
        self.patience = 0.0
        self._left = 0.0  # of it, for this invocation
        self._own = False  # `fd` is a description of our own
        self._renew()

    def _renew(self) -> None:
        self.lock = threading.RLock()  # a signal handler may print while print holds it
        self.ring: deque[tuple[int, int, Unit]] = deque()  # bytes, lines, frames
        self.size = 0
        self.begun = False  # the oldest unit is written in part

    def lead(self, pipe_fd: int) -> None:
        """Send everything from now on into the pipe `pipe_fd`, which is this sink's from here on."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = pipe_fd
        self._own = False
        if self.ring or self.dropped or self.lost:
            self.dropped = self.lost = 0
            self._renew()

    def _open(self) -> None:
        # Late: many an instance never says a word. A description of our own, because O_NONBLOCK on a shared
        # one would reach child processes and C code. Its number stays: the audit knows the pipe by it.
        fd = os.open(f"/proc/self/fd/{self.fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.dup2(fd, self.fd, inheritable=False)
        os.close(fd)
        self._own = True

    def emit(self, kind: str, request_id: str, payload: bytes, more: tuple[str, bytes] | None = None) -> None:
        """Take one unit; it is written now if the pipe has room. more: kind and payload of the next one."""
        if self.fd < 0:
            _write_all(1 if kind == "O" else 2, payload)
            return
        if len(payload) > RING:
            payload = payload[:RING] + b"\n[cut: %d bytes in one piece]" % len(payload)
        unit = frames(kind, request_id, payload)
        if more is not None:
            unit += frames(more[0], request_id, more[1])
            if sum(map(len, unit)) <= FRAME:
                unit = [b"".join(unit)]
        size = sum(map(len, unit))
        with self.lock:
            self.ring.append((size, max(1, payload.count(b"\n")), unit))
            self.size += size
            self.pump()
            if self.size > RING:
                self._wait(RING)
            self._bound()

    def settle(
        self, kind: str, request_id: str, payload: bytes, more: tuple[str, bytes] | None = None
    ) -> None:
        """Take the last unit of an invocation, below a word on what was dropped of it, and wait a little
        until all is written: whoever has the answer may ask for it."""
        with self.lock:
            if self.patience:
                room = RING - 2 * FRAME
                self._wait(room)
                self._bound(room)
            if self.patience and self.dropped:
                notice = frames("D", "-", b"%d" % self.dropped)
                self.ring.append((len(notice[0]), 0, notice))
                self.size += len(notice[0])
                self.dropped = 0
            self.emit(kind, request_id, payload, more)
            self._left = max(self._left, self.patience / 2)
            self._wait(0)
            self._left = self.patience

    def _wait(self, size: int) -> None:
        """Until no more than `size` bytes wait, or the patience for this invocation is used up."""
        if self.fd < 0 or self._left <= 0 or self.size <= size:
            return
        begun = time.monotonic()
        end = begun + self._left
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        while self.size > size and (left := end - time.monotonic()) > 0 and poll.poll(left * 1000):
            self.pump()
        self._left = max(0.0, end - time.monotonic())

    def _bound(self, limit: int = RING) -> None:
        while self.size > limit and len(self.ring) > 1 + self.begun:
            index = int(self.begun)  # a unit that is half written stays
            size, lines, _ = self.ring[index]
            del self.ring[index]
            self.size -= size
            self.dropped += lines
            self.lost += lines
            if self.on_loss is not None:
                self.on_loss(self.lost)

    def pump(self) -> bool:
        """Write what the pipe takes without waiting; True when nothing is left."""
        with self.lock:
            while self.ring or self.dropped:
                if self.dropped and not self.begun and not (self.patience and self.ring):
                    if not self._write(frames("D", "-", b"%d" % self.dropped)[0]):
                        return False
                    self.dropped = 0
                    continue
                if not self._pump_unit():
                    return False
            return True

    def _pump_unit(self) -> bool:
        size, _, unit = self.ring[0]
        while unit:
            if not self._write(unit[0]):
                return False
            del unit[0]
            self.begun = bool(unit)
        self.ring.popleft()
        self.size -= size
        return True

    def _write(self, frame: bytes) -> bool:
        if not self._own:
            self._open()
        try:
            os.write(self.fd, frame)
        except BlockingIOError:
            return False
        except OSError:  # the log process is gone: there is nobody to tell
            return True
        return True


class FramedStream(io.TextIOBase):
    """sys.stdout or sys.stderr: lines to the sink, whole, with the request that was running."""

    mode = "w"
    line_buffering = True
    write_through = False

    def __init__(self, sink: Sink, kind: str) -> None:
        super().__init__()
        self._sink = sink
        self._kind = kind
        self._parts: dict[tuple[int, str], bytes] = {}
        self.name = "<stdout>" if kind == "O" else "<stderr>"
        self.buffer = FramedBuffer(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    def write(self, text: str) -> int:
        self.write_bytes(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Emit what `data` completes; keep an unfinished line for this thread and request."""
        sink = self._sink
        with sink.lock:
            request_id = serving.current_request_id.get()
            key = (threading.get_ident(), request_id)
            if self._parts:
                data = self._parts.pop(key, b"") + data
            # print("a\nb") is two writes: until the last newline is there, what was said is not finished.
            finished = data.endswith(b"\n") and not _open_traceback(data)
            if finished or len(data) > RING:
                sink.emit(self._kind, request_id, data)
            else:
                self._parts[key] = data

    def flush(self) -> None:
        sink = self._sink
        with sink.lock:
            request_id = serving.current_request_id.get()
            part = self._parts.pop((threading.get_ident(), request_id), b"")
            if part:
                sink.emit(self._kind, request_id, part)
            if sink.fd >= 0:
                sink.pump()

    def finish(self) -> None:
        """Emit all unfinished lines."""
        parts, self._parts = self._parts, {}
        for (_, request_id), part in parts.items():
            self._sink.emit(self._kind, request_id, part)

    def forget(self) -> None:
        """Drop unfinished lines: after a fork they belong to the parent."""
        self._parts.clear()

    def close(self) -> None:
        self.flush()

    def detach(self) -> Any:
        return self.buffer

    def reconfigure(self, **_options: Any) -> None:
        """Accepted for the sake of code that sets encodings or buffering; both are fixed here."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return 1 if self._kind == "O" else 2


class FramedBuffer(io.BufferedIOBase):
    """The binary face of a FramedStream."""

    def __init__(self, stream: FramedStream) -> None:
        super().__init__()
        self._stream = stream
        self.name = stream.name
        self.mode = "wb"

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._stream.write_bytes(raw)
        return len(raw)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._stream.fileno()


_sink = Sink()
_streams: list[FramedStream] = []


def prepare() -> None:
    """Put our streams in place of sys.stdout and sys.stderr, once, before user code is imported."""
    if _streams:
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    _streams[:] = [FramedStream(_sink, "O"), FramedStream(_sink, "E")]
    sys.stdout = sys.__stdout__ = _streams[0]  # type: ignore[assignment,misc]
    sys.stderr = sys.__stderr__ = _streams[1]  # type: ignore[assignment,misc]
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)


def install(pipe_fd: int, on_loss: Callable[[int], None] | None = None) -> None:
    """Lead descriptors 1 and 2 and the streams of this process into `pipe_fd`, which is taken over.

    `on_loss` is told the number of lines dropped so far (Page.log_drops). Streams are as `prepare` made them.
    """
    os.dup2(pipe_fd, 1)
    os.dup2(pipe_fd, 2)
    _sink.lead(pipe_fd)
    _sink.on_loss = on_loss


def restore(out: int, err: int) -> None:
    """Undo `install`: descriptors 1 and 2 are again what `out` and `err`, which are taken over, are of."""
    for fd, number in ((out, 1), (err, 2)):
        os.dup2(fd, number)
        os.close(fd)
    _sink.lead(-1)
    _sink.on_loss = None


def say(request_id: str, line: bytes) -> None:
    """Print a line of our own among the app's, on standard output."""
    _sink.settle("O", request_id, line)


def access(line: bytes) -> None:
    """An access line, for the log process to check and to print."""
    _sink.emit("A", "-", line)


def be_patient() -> None:
    """This is an instance whose output is kept: it waits a little rather than lose any."""
    _sink.patience = _sink._left = PATIENCE_S


def record(request_id: str, data: bytes) -> None:
    """Tell the log process of a request: JSON, which is not printed."""
    if _sink.fd >= 0:
        _sink.emit("I", request_id, data)


def conclude(request_id: str, line: bytes, data: bytes) -> None:
    """`say` and `record` at once."""
    _sink.settle("O", request_id, line, ("I", data))


def pump() -> bool:
    """Write what waits, without blocking; for a loop that has a moment. True when something is left."""
    return bool(_sink.ring or _sink.dropped) and not _sink.pump()


def drain(seconds: float = 1.0) -> None:
    """Before the process leaves: unfinished lines, then what waits, for at most `seconds`."""
    for stream in _streams:
        stream.finish()
    if _sink.fd < 0:
        return
    deadline = time.monotonic() + seconds
    poll = select.poll()
    poll.register(_sink.fd, select.POLLOUT)
    while not _sink.pump():
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return


def _before_fork() -> None:
    for stream in _streams:
        stream.finish()
    if _sink.fd >= 0:
        _sink.pump()


def _in_child() -> None:
    # What could not be written before the fork is still the parent's to write, and its lock may be held
    # by a thread that does not exist here.
    _sink._renew()
    _sink.dropped = 0
    for stream in _streams:
        stream.forget()


def _open_traceback(data: bytes) -> bool:
    """True while `data` is a traceback whose last line, the exception itself, has not come yet."""
    if not data.startswith(TRACEBACK) or len(data) > RING:
        return False
    if not data.endswith(b"\n"):
        return True
    last = data[data.rfind(b"\n", 0, len(data) - 1) + 1 :]
    return last.startswith((b" ", TRACEBACK))


def _write_all(fd: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:  # closed or broken: a template has nowhere else to complain
        return
