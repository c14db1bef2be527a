"""Base templates: one exec'd interpreter per environment, from which templates are forked."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
from collections.abc import Callable
from typing import Any

from snapfork.runner.gateway.channel import Channel
from snapfork.runner.gateway.children import Watch
from snapfork.runner.processes import boot
from snapfork.runner.serve_config import Interpreter
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
_EXEC_TIME = ("PYTHONHASHSEED", "TZ", *THREAD_VARIABLES)
_EXEC_TIME_PREFIXES = ("LD_", "MALLOC_", "PYTHONMALLOC", "GLIBC_TUNABLES")


def exec_time_variables(env: dict[str, str]) -> dict[str, str]:
    """Those of a function's variables that act when the interpreter starts, and so need their own base."""
    return {
        name: value
        for name, value in env.items()
        if name in _EXEC_TIME or name.startswith(_EXEC_TIME_PREFIXES)
    }


def inherited_environment() -> dict[str, str]:
    """The runner's environment as its functions see it: everything but the runner's own secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in PRIVATE_VARIABLES and not name.startswith("SNAPFORK_")
    }


class Base:
    """Handle of one base process. `on_frame(kind, view, fds)` gets FORKED and DIED; `on_death` its end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interpreter: Interpreter,
        variables: dict[str, str],
        life_fd: int,
        soft_files: int,
        access_fd: int,
        on_frame: Callable[[memoryview, list[int]], None],
        on_death: Callable[[Base], None],
    ) -> None:
        self.interpreter = interpreter
        self._on_death = on_death
        ours, theirs = fds.pair()
        environment = inherited_environment() | variables
        threads = {name: environment.get(name) for name in THREAD_VARIABLES}
        environment.update(dict.fromkeys(THREAD_VARIABLES, "1"))
        setup: dict[str, Any] = {
            "control": theirs.fileno(),
            "life": life_fd,
            "borrow": interpreter.borrow,
            "threads": threads,
            "nofile": soft_files,
            "access": access_fd,
        }
        self.process = subprocess.Popen(
            [interpreter.path, "-P", boot.__file__, json.dumps(setup)],
            pass_fds=(theirs.fileno(), life_fd, access_fd),
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self.pid = self.process.pid
        self.alive = True
        self.channel = Channel(loop, ours, on_frame, lambda: None)
        self._watch = Watch(loop, os.pidfd_open(self.pid), self._died)

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
        self.process.kill()

    def close(self) -> None:
        """Let it go: it exits when its socket closes."""
        self.alive = False
        self.channel.close()
        self._watch.close()

    def _died(self) -> None:
        self.alive = False
        self.channel.drain()
        self.process.wait()
        self.close()
        self._on_death(self)


def soft_file_limit() -> int:
    """The soft limit of open files as the runner found it."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
