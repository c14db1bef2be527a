"""Base templates: one exec'd interpreter per environment, from which templates are forked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from snapfork.runner.gateway.channel import Channel
from snapfork.runner.gateway.children import Watch
from snapfork.runner.processes import boot
from snapfork.runner.serve_config import Interpreter
from snapfork.runner.units import OPT_VARIABLE
from snapfork.runner.wire import fds, frames

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Held at 1 in templates: a thread team made before the fork would hang every instance."""

PRIVATE_VARIABLES = (
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
)
_MOST_NAMES = 2_000  # in one message
_EXEC_TIME = ("PYTHONHASHSEED", "TZ", *THREAD_VARIABLES)
_EXEC_TIME_PREFIXES = ("LD_", "MALLOC_", "PYTHONMALLOC", "GLIBC_TUNABLES")
_WITHOUT_EFFECT = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")
BARE_ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8"}
"""Of bases of deployed functions: what /proc shows of them for ever."""


def exec_time_variables(env: dict[str, str]) -> dict[str, str]:
    """Those of a function's variables that act when the interpreter starts, and so need their own base."""
    return {
        name: value
        for name, value in env.items()
        if name in _EXEC_TIME or name.startswith(_EXEC_TIME_PREFIXES)
    }


def deployed_variables(env: dict[str, str]) -> dict[str, str]:
    """The same for deployed functions, whose templates set their whole environment themselves, time zone and
    locale too."""
    return {
        name: value
        for name, value in env.items()
        if name in THREAD_VARIABLES
        or name.startswith(_EXEC_TIME_PREFIXES)
        or (name.startswith("PYTHON") and name not in _WITHOUT_EFFECT)
    }


def inherited_environment() -> dict[str, str]:
    """The runner's environment as its functions see it: everything but the runner's own secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in PRIVATE_VARIABLES and not name.startswith("SNAPFORK_")
    }


OnFrame = Callable[[memoryview, list[int]], None]


class Base:
    """Handle of one base process. `on_frame(view, fds)` gets FORKED and DIED; `on_death` its end.

    A stocked one is forked from another, and imports the modules that it is told to `take`. warden: of an
    executed one, whose parent that is; 0 else. unusable: why it has ended by itself.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interpreter: Interpreter,
        sock: socket.socket,
        on_frame: OnFrame,
        on_death: Callable[[Base], None],
    ) -> None:
        self.interpreter = interpreter
        self.pid = 0
        self.warden = 0
        self.alive = True
        self.channel = Channel(loop, sock, self._heard, self._eof)
        self.unusable = ""
        self._loop = loop
        self._on_frame = on_frame
        self._on_death = on_death
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: Watch | None = None
        self._taken: set[str] = set()

    @classmethod
    def execute(
        cls,
        loop: asyncio.AbstractEventLoop,
        interpreter: Interpreter,
        variables: dict[str, str],
        life_fd: int,
        soft_files: int,
        access_fd: int,
        on_frame: OnFrame,
        on_death: Callable[[Base], None],
        deployed: bool = False,
        user: tuple[int, int, str] | None = None,
        opt: tuple[str, ...] = (),
    ) -> Base:
        """A base in a fresh process, with `variables` in its environment.

        deployed: nothing of the runner's environment is in it. user: (uid, gid, name) whom it becomes. opt:
        directories that it and its forks see in /opt, see `Unit`; not in its arguments, which all may read.
        """
        ours, theirs = fds.pair()
        environment = (BARE_ENVIRONMENT if deployed else inherited_environment()) | variables
        threads = {name: environment.get(name) for name in THREAD_VARIABLES}
        environment.update(dict.fromkeys(THREAD_VARIABLES, "1"))
        if opt:
            environment[OPT_VARIABLE] = ":".join(opt)
        setup: dict[str, Any] = {
            "control": theirs.fileno(),
            "life": life_fd,
            "borrow": interpreter.borrow,
            "threads": threads,
            "nofile": soft_files,
            "access": access_fd,
            "user": user,
        }
        made = cls(loop, interpreter, ours, on_frame, on_death)
        made._process = subprocess.Popen(
            [interpreter.path, "-P", boot.__file__, json.dumps(setup)],
            pass_fds=(theirs.fileno(), life_fd, *([access_fd] if access_fd >= 0 else [])),
            env=environment,
            stdin=subprocess.DEVNULL,
            cwd="/" if deployed else None,
        )
        theirs.close()
        made.warden = made._process.pid  # who ends with the base, and takes it along
        made._watch = Watch(loop, os.pidfd_open(made.warden), made._died)
        return made

    def fork_stocked(self, number: int) -> Base:
        """A base that is forked from this one; `number` names it among this one's children."""
        ours, theirs = fds.pair()
        self.channel.send(frames.pack_json({"op": "stock", "number": number}), (theirs.fileno(),))
        theirs.close()
        return Base(self._loop, self.interpreter, ours, self._on_frame, self._on_death)

    def forked(self, pid: int, pidfd: int) -> None:
        """The process exists now."""
        self.pid = pid
        self._watch = Watch(self._loop, pidfd, self._died)

    def died(self, frame: frames.DiedFrame) -> None:
        """The base that it was forked from reaped it; its pidfd acts."""

    def take(self, modules: list[str], freeze: bool = False) -> None:
        """Have the modules imported that it does not have yet, before any further order.

        freeze: whether that is all it will ever have.
        """
        new = [name for name in modules if name not in self._taken]
        self._taken.update(new)
        for at in range(0, len(new), _MOST_NAMES):
            part = new[at : at + _MOST_NAMES]
            self.channel.send(frames.pack_json({"op": "take", "modules": part, "freeze": freeze}))

    def load(self, number: int, order: dict[str, Any], control: int, log_write: int) -> None:
        """Order a template for `order`; it speaks on `control` and prints to `log_write`."""
        message = frames.pack_json({"op": "load", "number": number, "order": order})
        self.channel.send(message, (control, log_write))

    def prepare_spawn(self, generation: int, order: dict[str, Any], interface: str) -> None:
        """Have the base remember `order`, so that START frames of `generation` spawn it."""
        self.channel.send(
            frames.pack_json(
                {"op": "spawn", "generation": generation, "order": order, "interface": interface}
            )
        )

    def forget_spawn(self, generation: int) -> None:
        self.channel.send(frames.pack_json({"op": "forget", "generation": generation}))

    def end(self) -> None:
        """SIGKILL, for one that hangs."""
        if self._watch is not None and self.alive:
            signal.pidfd_send_signal(self._watch.pidfd, signal.SIGKILL)

    def leave(self) -> None:
        """Let it go while the gateway goes on; nobody is told."""
        self._on_death = lambda _: None
        self.alive = False
        self.channel.close()

    def close(self) -> None:
        """Let it go: it exits when its socket closes."""
        self.alive = False
        self.channel.close()
        if self._watch is not None:
            self._watch.close()

    def _heard(self, view: memoryview, received: list[int]) -> None:
        if view[0] == frames.JSON:
            told = frames.unpack_json(view)
            self.pid = told.get("base", {}).get("pid", 0)
            self.unusable = told.get("unusable", "")
        else:
            self._on_frame(view, received)

    def _eof(self) -> None:
        if self.alive and self._watch is None:
            self._died()  # before it was forked, with the base that was to do it

    def _died(self) -> None:
        self.alive = False
        self.channel.drain()
        if self._process is not None:
            self._process.wait()
        elif self._watch is not None:
            with contextlib.suppress(OSError):  # not ours: the base that it came from reaps it
                os.waitid(os.P_PIDFD, self._watch.pidfd, os.WEXITED | os.WNOHANG)
        self.close()
        self._on_death(self)


def soft_file_limit() -> int:
    """The soft limit of open files as the runner found it."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
