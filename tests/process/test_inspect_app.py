"""What doctor notices about an app beside the audit."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

DRIVER = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
from snapfork.runner.processes.inspect_app import Inspector
from snapfork.runner.processes.origins import Origins
origins = Origins()
origins.install()
inspector = Inspector(origins)
inspector.start()
import shop
inspector.loaded()
inspector.warming()
shop.request()
inspector.warmed()
origins.remove()
print(json.dumps(inspector.report()))
"""


def inspect(directory: Path, source: str) -> dict[str, Any]:
    """What an Inspector says about an app with this source."""
    (directory / "shop.py").write_text(textwrap.dedent(source))
    command = [sys.executable, "-c", DRIVER, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, timeout=150)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_habits_of_an_app(tmp_path: Path) -> None:
    (tmp_path / "grpc.py").write_text("")
    library = tmp_path / "site-packages" / "library"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("import os, random\nos.urandom(8)\nrandom.Random(1)")
    said = inspect(
        tmp_path,
        """
        import datetime, functools, random, secrets, sys, time
        import flask
        import grpc; sys.path.append("site-packages"); import library
        KEY = secrets.token_hex()
        STARTED = datetime.datetime.now()
        random.seed(42)
        cache, hits, unchanged = {}, 0, {1: 2}

        @functools.lru_cache
        def price(number):
            return number

        def request():
            global hits
            hits += 1
            cache["first"] = price(1)
        """,
    )
    found = {(finding["kind"], finding["object"]): finding for finding in said["findings"]}
    assert found["random value drawn at import", "secrets.token_hex"]["origin"] == "shop.py:5"
    assert found["generator seeded at import", "random.seed"]["origin"] == "shop.py:7"
    assert ("time read at import", "shop.STARTED") in found
    assert ("state kept in the process", "shop.cache (0 → 1)") in found
    assert ("state kept in the process", "shop.hits (0 → 1)") in found
    assert ("state kept in the process", "shop.price (0 → 1)") in found
    assert ("library that minds a fork", "grpc: grpc makes threads and native state") in found
    assert len(found) == 7, found
    assert all(finding["cure"] for finding in said["findings"])


def test_a_tidy_app_has_none(tmp_path: Path) -> None:
    said = inspect(tmp_path, "import flask\napp = flask.Flask(__name__)\ndef request(): pass")
    assert said["findings"] == []


def test_slow_imports_are_counted_for_the_package_that_is_slow(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("end = __import__('time').monotonic() + 0.1\n"
                                      "while __import__('time').monotonic() < end: pass\n")  # fmt: skip
    (tmp_path / "outer.py").write_text("import slow")
    said = inspect(tmp_path, "import outer\ndef request(): pass")
    cost = {one["package"]: one["ms"] for one in said["imports"]}
    assert said["imports"][0]["package"] == "slow"
    assert cost["slow"] > cost["outer"]
