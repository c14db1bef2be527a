"""Apps as people write them (tests/apps/snapshots): what comes back answers as what was captured."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

APPS = Path(__file__).resolve().parents[1] / "apps" / "snapshots"
DRIVER = Path(__file__).with_name("snapshot_driver.py")
INDEX = ("GET", "/", None)


@dataclass
class Stack:
    """One app; `stays` if its source must be there when it is restored, or its other files are read."""

    folder: str
    target: str
    requests: list[Any] = field(default_factory=lambda: [INDEX])
    stays: bool = False


STACKS = [
    Stack("python", "values:app"),
    Stack("python", "classes:app", [INDEX, ("GET", "/new", None)]),
    Stack("settings", "shop:app"),
    Stack("libraries", "shop:app", stays=True),
    Stack("registers", "shop:app"),
    Stack("flask_package", "wsgi:app", [INDEX, ("GET", "/b/z/3", None), ("POST", "/b/z/3", None)], True),
    Stack(
        "flask_login",
        "shop:app",
        [("GET", "/me", None), ("POST", "/login", {"n": "a"}), ("GET", "/me", None)]
        + [("GET", path, None) for path in ("/slow", "/slow", "/k")],
    ),
    Stack(
        "fastapi_types",
        "shop:app",
        [
            ("GET", "/r/page?q=2", None),
            ("GET", "/r/page?q=-2", None),
            ("POST", "/r/owner", {"pet": {"kind": "dog"}}),
            ("POST", "/r/owner?lvl=hi", {"pet": {"kind": "cat"}, "when": "2020-01-01T00:00:00"}),
            ("POST", "/r/owner?lvl=x", {"pet": {"kind": "cow"}}),
            *(("GET", f"/{path}", None) for path in ("r/names", "r/sec", "r/set", "r/err", "sub/s")),
            ("GET", "/openapi.json", None),
        ],
    ),
    Stack("fastapi_async", "shop:app"),
    Stack(
        "falcon",
        "wsgi_shop:app",
        [("GET", "/t/a?q=4", None), ("POST", "/t/b", {"z": 1})]
        + [("GET", path, None) for path in ("/t/b", "/e", "/sink/1", "/none")],
    ),
    Stack("falcon", "asgi_shop:app"),
    Stack(
        "starlette_more",
        "shop:app",
        [("GET", path, None) for path in ("/y/2020", "/y/x", "/priv", "/page", "/stream", "/static/a.html")],
        True,
    ),
    Stack(
        "site",
        "site1.wsgi:application",
        [INDEX, ("GET", "/?name=abcd", None)]
        + [("GET", path, None) for path in ("/api/st", "/api/st2", "/api/items/", "/admin/", "/admin/login/")]
        + [("POST", "/api/items/", {"name": ""}), ("POST", "/api/items/", {"name": "tea"})],
        True,
    ),
]


class Place:
    """A copy of one stack's source, and a data directory of each process's own."""

    def __init__(self, directory: Path, folder: str) -> None:
        self.directory = directory
        self.source = directory / "source"
        self.file = directory / "shop.snap"
        shutil.copytree(APPS / folder, self.source, ignore=shutil.ignore_patterns("__pycache__"))

    def run(self, *words: str, data: str = "data") -> str:
        """What a Python program printed."""
        (self.directory / data).mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *words], cwd=self.directory, capture_output=True, text=True,
            timeout=150, check=False,
            env={
                **os.environ,
                "XDG_CONFIG_HOME": str(self.directory / "config"),
                "SHOP_DATA": str(self.directory / data),
                **({"DJANGO_SETTINGS_MODULE": "site1.settings"} if (self.source / "site1").exists() else {}),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def drive(self, mode: str, stack: Stack, data: str) -> dict[str, Any]:
        directory = str(self.source) if mode == "make" or stack.stays else ""
        words = (mode, directory, str(self.file), stack.target, json.dumps(stack.requests))
        result: dict[str, Any] = json.loads(self.run(str(DRIVER), *words, data=data).splitlines()[-1])
        return result


def plain(answers: list[Any]) -> list[Any]:
    """Without what differs from one request to the next."""
    return [[status, re.sub(r'value="\w{64}"', "", text), own] for status, text, own in answers]


@pytest.mark.parametrize("stack", STACKS, ids=[f"{one.folder}-{one.target}" for one in STACKS])
def test_answers_as_before(stack: Stack, tmp_path: Path) -> None:
    place = Place(tmp_path, stack.folder)
    if stack.folder == "site":
        for data in ("live", "data"):
            migrate = "import sys; sys.path.insert(0, 'source'); from django.core.management import *; "
            place.run(
                "-c", migrate + "import django; django.setup(); call_command('migrate', '-v0')", data=data
            )
    made = place.drive("make", stack, "live")
    if not stack.stays:
        place.source.rename(tmp_path / "gone")
    back = place.drive("back", stack, "data" if stack.folder == "site" else "live")
    assert plain(back["answers"]) == plain(made["answers"])
    assert all(status != 500 for status, _, _ in made["answers"])
    if stack.folder == "site":
        assert {"site1.settings", "shopapp.models", "blog.mid"} <= set(made["needs"])
    elif stack.folder == "python":
        assert made["warnings"] == []


def test_a_notebook(tmp_path: Path) -> None:
    """Everything is defined in __main__."""
    place = Place(tmp_path, "notebook")
    said = place.run(str(place.source / "cells.py"), str(place.file))
    place.source.rename(tmp_path / "gone")
    back = "import sys; from snapfork.adapter import restore; app = restore(sys.argv[1]); "
    answer = "print(app.test_client().get('/4').text)"
    assert place.run("-c", back + answer, str(place.file)) == said
    assert json.loads(said)[1:6] == [2, 1, True, 3, True]
