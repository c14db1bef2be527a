"""What is noted of an initialisation, and what a start finds and clears away."""

from __future__ import annotations

import importlib.metadata
import os
import pkgutil
import subprocess
from pathlib import Path

import pytest
from snapfork.runner.kept import gathering, lookup
from snapfork.runner.kept.recorder import Recorder
from snapfork.runner.kept.store import Store


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """One that is not installed yet, in a directory with another in it."""
    (tmp_path / "plugins").mkdir()
    monkeypatch.chdir(tmp_path)
    return Recorder()


def test_directories_that_are_listed_count_by_their_names(recorder: Recorder, tmp_path: Path) -> None:
    recorder.install()
    try:
        os.listdir("plugins")
        list(tmp_path.iterdir())
    finally:
        recorder.remove()
    plugins = str(tmp_path / "plugins")
    written = [str(tmp_path / "log")]
    assert gathering.listed_by_app(recorder.directories, written) == {plugins}
    assert gathering.listed_by_app(recorder.directories, []) == {plugins, str(tmp_path)}
    before = gathering.file_digest(plugins)
    assert gathering.changed_since([plugins], 0) is None
    (tmp_path / "plugins" / "__pycache__").mkdir()
    assert gathering.file_digest(plugins) == before
    (tmp_path / "plugins" / "a.txt").touch()
    assert gathering.file_digest(plugins) != before


def test_searches_for_modules_are_no_listing(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    recorder.install()
    try:
        list(importlib.metadata.distributions(path=[str(tmp_path)]))
        list(pkgutil.iter_modules([str(tmp_path)]))
    finally:
        recorder.remove()
    assert str(tmp_path) not in recorder.directories


def test_programs_are_named(recorder: Recorder) -> None:
    recorder.install()
    try:
        subprocess.run(["true", "x"], check=True)
    finally:
        recorder.remove()
    subprocess.run(["false"], check=False)
    ((name, origin),) = recorder.peers.items()
    assert name == "the program true" and "test_kept_inputs_seen.py" in origin


def test_a_start_clears_away_what_a_killed_one_left(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    kept = Path(store.draft())  # of this process, which may be at it
    left = kept.with_name(f"{2**22 + 1}-1.snap")
    for path in (kept, left):
        path.touch()
    order = {
        "data_dir": str(tmp_path),
        "forget": "",
        "app_dir": ".",
        "target": "shop:app",
        "function": "shop",
    }
    assert lookup.look(order, {}) == {"fresh": lookup.NONE_YET}
    assert kept.exists() and not left.exists()
