"""A data directory that cannot be used: one sentence, no end without a reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from deployed import serve
from server import HANG_S

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", ["queue.sqlite3", "triggers.sqlite3", "registry.sqlite3"])
def test_a_damaged_file_ends_the_start_with_one_sentence(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    with serve(data):
        pass
    page = 4096
    content = bytearray((data / name).read_bytes())
    content[100:] = os.urandom(len(content[100:page])) + content[page:] if len(content) > page else b"x" * 100
    (data / name).write_bytes(bytes(content))
    for tail in ("-wal", "-shm"):
        (data / f"{name}{tail}").unlink(missing_ok=True)
    ended = subprocess.run(
        [sys.executable, "-m", "snapfork.runner", "serve", "--port", "0", "--control", "127.0.0.1:0",
         "--data-dir", str(data)],
        capture_output=True, text=True, timeout=HANG_S, check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    output = ended.stdout + ended.stderr
    assert ended.returncode == 1, output
    assert "cannot be used" in output and "Traceback" not in output


def test_damaged_telemetry_is_put_aside(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "telemetry.sqlite3").write_bytes(b"no database" * 1000)
    with serve(data) as runner:
        runner.wait_for("put aside")
    assert (data / "telemetry.sqlite3.damaged").exists()


def test_a_file_that_is_damaged_later_ends_nothing_and_is_tried_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serve(data) as runner:
        (services,) = [
            pid
            for pid in runner.processes()
            if b"snapfork.runner.services.main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        (data / "queue.sqlite3").rename(data / "kept")
        (data / "queue.sqlite3").write_bytes(b"no database" * 1000)
        for tail in ("-wal", "-shm"):
            (data / f"queue.sqlite3{tail}").unlink(missing_ok=True)
        os.kill(services, 9)
        runner.wait_for("queue.sqlite3 cannot be used")
        (data / "queue.sqlite3").unlink()
        (data / "kept").rename(data / "queue.sqlite3")
        before = len(runner.output)
        runner.wait_for("control: http", before)
        assert not any("Traceback" in line for line in runner.output)
