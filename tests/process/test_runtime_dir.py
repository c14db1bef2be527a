"""Runners find each other, and only their own user's."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from snapfork.runner import runtime_dir

CREATE = """
import sys
from snapfork.runner import runtime_dir
print(runtime_dir.create({"urls": ["http://x"]}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "snapfork"


@pytest.fixture
def other(root: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", CREATE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def in_root(root: Path) -> list[runtime_dir.Found]:
    return [found for found in runtime_dir.find() if Path(found.path).parent == root]


def test_a_running_runner_is_found_and_a_dead_one_is_cleared(
    root: Path, other: subprocess.Popen[str]
) -> None:
    assert other.stdout is not None
    path = Path(other.stdout.readline().strip())
    assert path == root / str(other.pid)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    (found,) = in_root(root)
    assert found.pid == other.pid
    assert found.note["urls"] == ["http://x"]
    other.kill()
    other.wait()
    assert in_root(root) == []
    runtime_dir.remove_stale()
    assert not path.exists()


def test_a_later_process_with_the_same_pid_is_not_taken_for_the_runner(root: Path) -> None:
    path = Path(runtime_dir.create({}))
    assert [found.pid for found in in_root(root)] == [os.getpid()]
    note = json.loads((path / runtime_dir.NOTE).read_text())
    (path / runtime_dir.NOTE).write_text(json.dumps({**note, "start_ticks": 1}))
    assert in_root(root) == []
    runtime_dir.remove(str(path))
    runtime_dir.remove(str(path))


def test_a_root_that_others_may_enter_is_passed_over(root: Path) -> None:
    root.mkdir(mode=0o755)
    root.chmod(0o755)
    path = Path(runtime_dir.create({}))
    try:
        assert path.parent != root
        assert in_root(root) == []
    finally:
        runtime_dir.remove(str(path))


def test_a_symbolic_link_is_no_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    root.symlink_to(tmp_path / "elsewhere")
    path = Path(runtime_dir.create({}))
    runtime_dir.remove(str(path))
    assert path.parent != root


def test_a_note_that_is_not_json_does_not_hide_the_runner(root: Path) -> None:
    path = Path(runtime_dir.create({}))
    (path / runtime_dir.NOTE).write_text("{")
    assert [found.note for found in in_root(root)] == [{}]
    runtime_dir.remove(str(path))


def test_a_command_waits_for_the_runner_of_the_line_before(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snapfork.runner.cli import control_client, remote

    path = runtime_dir.create({"deployed": True})
    looks: list[float] = []
    with socket.socket(socket.AF_UNIX) as listener:

        def pause(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 2:
                listener.bind(os.path.join(path, runtime_dir.SOCKET))
            elif len(looks) == 3:
                listener.listen()

        monkeypatch.setattr(control_client.time, "sleep", pause)
        try:
            assert remote.here().pid == os.getpid()
        finally:
            runtime_dir.remove(path)
    assert len(looks) == 3


def test_a_runner_that_is_gone_is_not_waited_for(
    root: Path, other: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from snapfork.runner.cli import control_client

    assert other.stdout is not None and other.stdout.readline()
    (found,) = in_root(root)
    monkeypatch.setattr(control_client.time, "sleep", lambda _: (other.kill(), other.wait()))
    control_client.wait_started(found)
    assert other.returncode is not None
