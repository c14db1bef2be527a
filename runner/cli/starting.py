"""A runner that the line before in the same script has put into the background, and that is not found yet."""

from __future__ import annotations

import os
import time
from pathlib import Path

from snapfork.runner import runtime_dir
from snapfork.runner.cli.control_client import LOOK_S

BESIDE_S = 10.0
NAMES = ("runner", "snapfork.runner")


def wait_findable() -> None:
    """Until each `runner serve` that has this process's parent can be found, or has ended; nobody else is
    waited for."""
    deadline = time.monotonic() + BESIDE_S
    while (
        _serving_beside() - {one.pid for one in runtime_dir.find() if one.note}
        and time.monotonic() < deadline
    ):
        time.sleep(LOOK_S)


def _serving_beside() -> set[int]:
    parent = os.getppid()
    try:
        pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:  # it has ended, or the kernel does not say
        return set()
    return {int(pid) for pid in pids if _serves(pid)}


def _serves(pid: str) -> bool:
    """Whether its command is `runner serve` or `python -m snapfork.runner serve`."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return any(
        os.path.basename(word) in NAMES and after == "serve"
        for word, after in zip(words, words[1:], strict=False)
    )
