"""kill -9 at any moment: what was acknowledged is there, whole, and nothing half-made is ever used."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import registry_writer
from snapfork.runner.registry.errors import NotFound
from snapfork.runner.registry.model import Version
from snapfork.runner.registry.operations import Operations

pytestmark = pytest.mark.once


def killed_in_the_middle(data: Path, run: int, lines: int, delay: float) -> list[list[str]]:
    """Have the writer work until it has said `lines`, and a moment longer; all that it has said."""
    command = [sys.executable, registry_writer.__file__, str(data), str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(lines)]
    with pytest.raises(subprocess.TimeoutExpired):  # the moment is random, and nothing is waited for
        process.wait(delay)
    os.kill(process.pid, signal.SIGKILL)
    said += process.stdout.readlines()
    process.wait()
    assert said[0] == "ready\n"
    return [line.split() for line in said[1:] if line.endswith("\n")]


@pytest.mark.timeout(300)
def test_acknowledged_changes_survive(
    tmp_path: Path, soak: Callable[[int, int], int], record: Callable[[str, object], None]
) -> None:
    data = tmp_path / "data"
    dice = random.Random(5)
    there: dict[str, set[str]] = {}
    gone: set[str] = set()
    rounds = soak(6, 100)
    changes = 0
    for run in range(rounds):
        said = killed_in_the_middle(data, run, dice.randint(2, 12), dice.uniform(0.001, 0.05))
        changes += len(said)
        for verb, name, version in said:
            if verb == "did":
                there.setdefault(name, set()).add(version)
            else:
                there.pop(name, None)
                gone.add(name)
        with sqlite3.connect(data / "registry.sqlite3") as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        asyncio.run(check(data, there, gone))
    record("registry: changes acknowledged and found after kill -9", f"{changes} in {rounds} kills")


async def check(data: Path, there: dict[str, set[str]], gone: set[str]) -> None:
    operations = registry_writer.opened(str(data))
    try:
        await operations.start()
        for name, versions in there.items():
            # The last change may have been made and not acknowledged: a delete of the one before.
            try:
                found = operations.versions(name)[0]
            except NotFound:
                lane, _, number = name.rpartition("-")
                successor = f"{lane}-{int(number) + 1}"
                assert successor in there and "1" in there[successor]
                continue
            assert versions <= {one.version for one in found}
            for version in found:
                whole(operations, name, version.version)
        assert not gone & {function.name for function, _ in operations.list(limit=10_000)[0]}
        assert operations.reconciler.failed == {}
        held = {one.package for one in operations.image.all(Version)}
        where = operations.packages.places
        assert {path.stem for path in where.packages.iterdir()} == held
        assert list(where.drafts.iterdir()) == []
        assert {path.name for path in where.code.iterdir()} == held
    finally:
        await operations.close()
        operations.store.close()


def whole(operations: Operations, name: str, version: str) -> None:
    path = Path(operations.code(name, version))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    unpacked = operations.packages.places.code / path.stem
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            assert (unpacked / entry).read_bytes() == archive.read(entry)
