"""Requests per second: by wrk where it is installed, else by our own client, which says so."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from snapfork.runner.bench.burst import load
from snapfork.runner.bench.client import Address
from snapfork.runner.errors import UserError

OWN_CLIENT = "Throughput was measured by our own single-threaded client"


@dataclass
class Rate:
    """requests: good answers per second. failed: others, and connections that broke. tool: "wrk" or "own"."""

    requests: float
    failed: int
    tool: str


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


def tool_note(seconds: float) -> str:
    """A sentence where measurements of so many seconds are not wrk's; "" else."""
    if not has_wrk():
        return f"{OWN_CLIENT}: `apt-get install wrk` for a faster one."
    return f"{OWN_CLIENT}: {seconds:g} s are too short for wrk." if seconds < 1 else ""


def rate(
    address: Address, seconds: float, *, connections: int = 16, path: str = "/", keep: bool = True
) -> Rate:
    """The rate over `connections` at a time, kept or new for each request. Raises UserError."""
    if not has_wrk() or seconds < 1:  # wrk counts whole seconds
        done = load(address, connections, seconds, path, keep=keep)
        return Rate(done.rate, done.failed, "own")
    url = f"http://{address[0]}:{address[1]}{path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", "--timeout", "10s"]
    close = [] if keep else ["-H", "Connection: close"]
    done_wrk = subprocess.run([*command, *close, url], capture_output=True, text=True, check=False)
    return parse(done_wrk.stdout or done_wrk.stderr, keep)


def parse(text: str, keep: bool = True) -> Rate:
    """wrk's output. Raises UserError where it is none."""
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if not found:
        raise UserError(f"wrk failed: {text.strip()[-200:]}")
    failed = 0
    if errors := re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text):
        failed += sum(map(int, errors.groups()))
    if others := re.search(r"Non-2xx or 3xx responses: (\d+)", text):
        failed += int(others[1])
    return Rate(float(found[1]), failed, "wrk")
