"""The log process's part that keeps: lines and records into the store, and whoever asks it to catch up."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import sys
from collections import deque
from typing import NamedTuple

from snapfork.runner.services.frames import RECORD, Unit
from snapfork.runner.telemetry import desk
from snapfork.runner.telemetry.store import Store


class Ending(NamedTuple):
    """Last lines of a run whose instance could not say them; they come after what it has printed itself."""

    function: str
    instance: str
    unit: Unit


class Keeper:
    """Owns the store at `store` and listens on `path`; the log process's loop calls it."""

    FLUSH_S = 0.2
    SWEEP_S = 60.0

    def __init__(self, store: str, path: str) -> None:
        self.store = _open(store)
        try:
            self.listener = desk.listen(path)
        except OSError:
            self.store.close()
            raise
        self._visitors: dict[int, socket.socket] = {}
        self.endings: deque[Ending] = deque()
        self._flushed = 0.0
        self._swept = 0.0

    @property
    def waits(self) -> bool:
        """True while something is not yet written."""
        return self.store.waits

    def take(self, unit_name: str, instance: str, unit: Unit, now: float) -> None:
        """One unit of output of an instance of `unit_name` ("shop:3"), at `now` seconds since the epoch."""
        function, _, version = unit_name.rpartition(":")
        if unit.stream == RECORD:
            with contextlib.suppress(ValueError, KeyError, TypeError):  # the instance's own word, not ours
                mine = {"function": function, "version": version, "instance": instance}
                self.store.record(json.loads(unit.text) | mine, ran=True)
        else:
            request = unit.request_id or "-"
            self.store.line(now, function or unit_name, version, instance, request, unit.stream, unit.text)

    def turn(self, clock: float, now: float) -> None:
        """After each round of the loop: `clock` is monotonic seconds, `now` seconds since the epoch."""
        if self.store.waits and clock - self._flushed >= self.FLUSH_S:
            self._flushed = clock
            self.store.flush()
        if clock - self._swept >= self.SWEEP_S:
            self._swept = clock
            self.store.sweep(now)
            if self.store.lost:
                said = f"The disk is full: {self.store.lost} lines and records of functions were not kept."
                print(said, file=sys.stderr, flush=True)
                self.store.lost = 0

    # -- whoever asks ----------------------------------------------------------------------------------

    def admit(self) -> int | None:
        """The descriptor of a new visitor, or None when it has gone again."""
        try:
            visitor, _ = self.listener.accept()
        except OSError:
            return None
        self._visitors[visitor.fileno()] = visitor
        return visitor.fileno()

    def read(self, fd: int) -> str:
        """What a visitor wants: "sync", "gone", "ending" when `endings` has one more, or "" when it has only
        said something."""
        try:
            data = self._visitors[fd].recv(desk.MAX_MESSAGE)
            message = json.loads(data) if data else {}
        except (OSError, ValueError):
            return "gone"
        if message.get("op") == "record":
            fields = message["fields"]
            self.store.record(fields)
            if not fields.get("lines"):
                return ""
            unit = f"{fields['function']}:{fields['version']}"
            text = Unit("stdout", str(fields["id"]), str(fields["lines"]))
            self.endings.append(Ending(unit, str(fields.get("instance") or "-"), text))
            return "ending"
        return "sync" if message.get("op") == "sync" else "gone"

    def answer(self, fd: int) -> None:
        """Everything has been read: write it, and say so."""
        self.store.flush()
        with contextlib.suppress(OSError):  # it has not waited
            self._visitors[fd].send(b"{}", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def dismiss(self, fd: int) -> None:
        """A visitor has hung up."""
        self._visitors.pop(fd).close()

    def close(self) -> None:
        """Write what waits; hang up."""
        for visitor in self._visitors.values():
            visitor.close()
        self._visitors.clear()
        self.listener.close()
        self.store.close()


def _open(path: str) -> Store:
    """The store; a damaged file is put aside for a new one, as telemetry is nothing that others need."""
    try:
        return Store(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # it cannot be opened or written at all
            raise
        print(f"{path} is put aside as {path}.damaged: {error}.", file=sys.stderr, flush=True)
        for tail in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.replace(path + tail, f"{path}.damaged{tail}")
        return Store(path)
