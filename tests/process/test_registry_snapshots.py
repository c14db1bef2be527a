"""Snapshots as packages: tried in a throw-away process without secrets, then signed anew, or refused."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import registry_writer
from snapfork.adapter.snapshots import file, keys
from snapfork.runner.registry.errors import BadPackage
from snapfork.runner.registry.operations import Operations

APP = """
import os
WHERE = {where!r}

class App:
    def __init__(self):
        self.greeting = "hello"
    def __call__(self, environ, start_response):
        start_response("200 OK", [])
        return [self.greeting.encode()]
    def __setstate__(self, state):
        self.__dict__.update(state)
        if WHERE:
            with open(WHERE, "a") as told:
                told.write(repr((dict(os.environ), os.getcwd(), os.getuid())) + "\\n")
        {trick}

app = App()
"""


@pytest.fixture
def snapped(tmp_path: Path) -> Callable[..., bytes]:
    """The snapshot of an app, made by somebody else with a key of their own."""

    def make(trick: str = "pass", where: str = "") -> bytes:
        home = tmp_path / "alice"
        home.mkdir(exist_ok=True)
        (home / "notebook.py").write_text(APP.format(where=where, trick=trick))
        script = (
            "import notebook; from snapfork.adapter import snapshot; snapshot(notebook.app).write('app.snap')"
        )
        environment = os.environ | {"XDG_CONFIG_HOME": str(home / "config"), "PYTHONPATH": str(home)}
        subprocess.run([sys.executable, "-c", script], cwd=home, env=environment, check=True)
        return (home / "app.snap").read_bytes()

    return make


def created(directory: Path, data: bytes) -> tuple[Any, Path]:
    """The version made of a snapshot, and the file that is served."""

    async def whole() -> tuple[Any, Path]:
        operations: Operations = registry_writer.opened(str(directory))
        try:
            await operations.start()
            version = await operations.create("shop", registry_writer.CONFIGURATION, data)
            await operations.reconciler.follow()
            (unit,) = operations.deduction.units()
            assert unit.target == f"{unit.app_dir}/app.snap"
            assert Path(operations.code("shop")).read_bytes() == data
            return version, Path(unit.target)
        finally:
            await operations.close()
            operations.store.close()

    return asyncio.run(whole())


def test_a_snapshot_is_tried_without_secrets_and_signed_anew(
    snapped: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "ours"))
    monkeypatch.setenv("SECRET_OF_THE_RUNNER", "s3cret")
    told = tmp_path / "told"
    data = snapped(where=str(told))
    told.unlink(missing_ok=True)
    version, served = created(tmp_path / "data", data)
    assert version.state == "active" and version.size == len(data)
    (line,) = told.read_text().splitlines()
    environment, directory, _ = eval(line)
    assert set(environment) <= {"PATH", "LANG", "HOME", "LC_CTYPE", "PYTHONPATH"}
    assert environment["HOME"] == directory and not Path(directory).exists()
    opened = file.read(served)  # by the keys that are trusted here
    assert opened.signer == keys.public_bytes(keys.own_key())
    before = tmp_path / "before.snap"
    before.write_bytes(data)
    assert file.parse(before).signer != opened.signer
    assert bytes(file.parse(before).stream) == bytes(opened.stream)
    assert opened.header.modules == [["notebook", False]]


@pytest.mark.parametrize(
    ("trick", "sentence"),
    [
        ("raise RuntimeError('not here')", "does not come back: RuntimeError: not here"),
        ("raise SystemExit(3)", "does not come back: SystemExit: 3"),
        ("os._exit(0)", "ended without a word"),
        ("os.kill(os.getpid(), 9)", "ended without a word"),
    ],
)
def test_what_does_not_come_back_is_refused(
    trick: str, sentence: str, snapped: Callable[..., bytes], tmp_path: Path
) -> None:
    with pytest.raises(BadPackage) as caught:
        created(tmp_path / "data", snapped(trick))
    assert sentence in caught.value.message and str(tmp_path) not in caught.value.message
    left = [path for path in (tmp_path / "data" / "code").iterdir()] + list(
        (tmp_path / "data" / "packages").iterdir()
    )
    assert left == []


def test_damage_is_refused_before_anything_runs(snapped: Callable[..., bytes], tmp_path: Path) -> None:
    told = tmp_path / "told"
    data = bytearray(snapped(where=str(told)))
    told.unlink(missing_ok=True)
    for at in (50, len(data) // 2, len(data) - 40):
        worse = bytearray(data)
        worse[at] ^= 1
        with pytest.raises(BadPackage):
            created(tmp_path / "data", bytes(worse))
    for cut in (8, 100, len(data) - 1):
        with pytest.raises(BadPackage):
            created(tmp_path / "data", bytes(data[:cut]))
    assert not told.exists()
