"""`runner serve &` and at once another command: it waits for the runner beside it, and for nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from snapfork.runner.cli import remote, starting
from snapfork.runner.errors import UserError

SERVE = """
import os, socket, sys
from snapfork.runner import runtime_dir
if sys.stdin.readline() == "up\\n":
    listener = socket.socket(socket.AF_UNIX)
    path = runtime_dir.create({"deployed": True})
    listener.bind(os.path.join(path, runtime_dir.SOCKET))
    listener.listen()
    sys.stdin.read()
"""


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """A `runner serve` of the same parent, which comes up when it is told."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "runner").write_text(SERVE)
    monkeypatch.setattr(os, "getppid", os.getpid)
    command = [sys.executable, str(tmp_path / "runner"), "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        while not Path(f"/proc/{process.pid}/cmdline").read_bytes():  # it is between fork and exec
            pass
        yield process


def tell(process: subprocess.Popen[str], word: str) -> None:
    """Say a word to it, once."""
    assert process.stdin is not None
    if not process.stdin.closed:
        process.stdin.write(f"{word}\n")
        process.stdin.flush()
        if word != "up":
            process.stdin.close()


def test_a_runner_that_cannot_be_found_yet_is_waited_for(
    beside: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def sleep(_seconds: float) -> None:
        if not told:
            told.append("up")
            tell(beside, "up")

    monkeypatch.setattr(starting.time, "sleep", sleep)
    near = os.environ["XDG_RUNTIME_DIR"]
    found = remote.here()
    assert (found.pid, found.path) == (beside.pid, f"{near}/snapfork/{beside.pid}")


def test_one_that_ends_before_it_is_up_is_not_waited_for_any_longer(
    beside: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting.time, "sleep", lambda _seconds: tell(beside, "end"))
    monkeypatch.setattr(starting, "BESIDE_S", 1e6)
    monkeypatch.setattr(remote.runtime_dir, "find", list)
    with pytest.raises(UserError, match="No runner of yours serves deployed functions"):
        remote.here()


def test_nobody_waits_where_nothing_is_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote.runtime_dir, "find", list)
    monkeypatch.setattr(starting.time, "sleep", lambda _seconds: pytest.fail("it waited"))
    with pytest.raises(UserError, match="No runner of yours serves deployed functions"):
        remote.here()
