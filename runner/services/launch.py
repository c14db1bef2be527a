"""Starting the runner's helper processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import Any

from snapfork.runner.serve_config import ServeConfig

NICENESS = 5
"""Gateway and instances, which clients wait for, go before their helpers where processors are scarce."""


def start(config: ServeConfig, control_fd: int, life_fd: int) -> subprocess.Popen[bytes]:
    """Start the services process; `control_fd` is its end of the socket pair with the gateway."""
    setup = {
        "control_fd": control_fd,
        "life_fd": life_fd,
        "runtime_dir": config.runtime_dir,
        "tcp": list(config.control) if config.control else None,
        "data_dir": config.data_dir,
        "deployed": config.deployed,
        "user": config.user,
        "urls": config.urls,
        "control_auth": config.control_auth,
        "region": config.region,
        "account": config.account,
    }
    return _exec("main", setup, (control_fd, life_fd))


def start_logs(
    control_fd: int,
    life_fd: int,
    *,
    as_json: bool,
    out_fd: int = 1,
    telemetry: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start the log process; `control_fd` is its end of the SEQPACKET pair with the gateway.

    telemetry: where it keeps lines and records, {"store": file, "socket": path to be asked on}, or None.
    """
    setup = {
        "fd": control_fd,
        "life_fd": life_fd,
        "json": as_json,
        "out_fd": out_fd,
        "telemetry": telemetry,
    }
    return _exec("logs", setup, (control_fd, life_fd, out_fd))


def start_watch(directories: list[str], out_fd: int, life_fd: int) -> subprocess.Popen[bytes]:
    """Start the file watcher; it writes one JSON line {"changed": [paths]} per change into `out_fd`."""
    setup = {"directories": directories, "out_fd": out_fd, "life_fd": life_fd}
    return _exec("watch", setup, (out_fd, life_fd))


def _exec(module: str, setup: dict[str, Any], keep: tuple[int, ...]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", f"snapfork.runner.services.{module}", json.dumps(setup)]
    # A session of its own: Ctrl-C in the terminal is for the gateway, from the first moment on.
    process = subprocess.Popen(
        command, pass_fds=keep, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True
    )
    with contextlib.suppress(OSError):  # it has ended at once, which is told elsewhere
        os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    return process
