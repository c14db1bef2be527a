"""The file watcher tells of changes that matter, and of no others."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from snapfork.runner.services import launch, watch


@pytest.mark.parametrize(
    "name", ["shop.py", "templates/a.html", "pyproject.toml", "venv.py", "a/b/settings.json"]
)
def test_these_matter(name: str) -> None:
    assert watch.matters(f"/srv/app/{name}", ["/srv/app"])


@pytest.mark.parametrize(
    "name",
    [
        "db.sqlite3",
        "a.pyc",
        "__pycache__/a.py",
        ".venv/lib/x.py",
        ".git/config.py",
        "node_modules/x/y.json",
        "app.log",
    ],
)
def test_these_do_not(name: str) -> None:
    assert not watch.matters(f"/srv/app/{name}", ["/srv/app"])


def test_an_app_inside_a_skipped_name_is_watched() -> None:
    assert watch.matters("/home/me/venv/app/shop.py", ["/home/me/venv/app"])


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    life, held = os.pipe()
    reader, writer = os.pipe()
    process = launch.start_watch([str(tmp_path)], writer, life)
    os.close(writer)
    os.close(life)
    yield process, reader, held
    process.kill()
    process.wait()
    os.close(reader)


def test_a_change_is_one_line_and_the_watcher_dies_with_the_gateway(
    tmp_path: Path, watcher: tuple[subprocess.Popen[bytes], int, int]
) -> None:
    process, reader, held = watcher
    # It goes behind what clients wait for.
    assert os.getpriority(os.PRIO_PROCESS, process.pid) > os.getpriority(os.PRIO_PROCESS, 0)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while True:  # the watcher has no word for "watching now": touch until it answers
        (tmp_path / "data.log").write_text("no")
        (tmp_path / "shop.py").write_text(os.urandom(4).hex())
        if poll.poll(300):
            break
    line = json.loads(os.read(reader, 65536).splitlines()[0])
    assert line == {"changed": [os.path.realpath(tmp_path / "shop.py")]}
    os.close(held)
    assert process.wait(150) == -9
