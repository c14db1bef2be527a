"""Which Python runs the app, and what it is lent."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from snapfork.runner import interpreter, side_packages
from snapfork.runner.errors import UserError
from snapfork.runner.processes import boot

BORROW = os.path.join(os.path.dirname(boot.__file__), "borrow.py")
LEND = f"""
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("_borrow", {BORROW!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.install(json.loads(sys.argv[1]))
"""


def silent(text: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds nothing."""
    path = tmp_path_factory.mktemp("env") / ".venv"
    venv.create(path, with_pip=False)
    return path


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)


def fake_package(env: Path, name: str, version: str) -> None:
    site = next((env / "lib").glob("python*")) / "site-packages"
    (site / name).mkdir(exist_ok=True)
    (site / name / "__init__.py").write_text(f"own = {version!r}\n")
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def run_lent(python: str, loans: list[str], code: str) -> str:
    import json

    done = subprocess.run(
        [python, "-P", "-c", LEND + code, json.dumps(loans)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_order_of_choice(tmp_path: Path, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert interpreter.find(str(tmp_path), None) == (sys.executable, "the runner's own")
    (tmp_path / ".venv").symlink_to(bare)
    beside = str(tmp_path / ".venv" / "bin" / "python")
    assert interpreter.find(str(tmp_path), None) == (beside, ".venv beside the app")
    monkeypatch.setenv("VIRTUAL_ENV", str(bare))
    assert interpreter.find(str(tmp_path), None) == (str(bare / "bin" / "python"), "VIRTUAL_ENV")
    assert interpreter.find(str(tmp_path), str(bare)) == (str(bare / "bin" / "python"), "--python")
    assert interpreter.find(str(tmp_path), sys.executable) == (sys.executable, "--python")


def test_the_projects_environment_is_found_from_a_source_directory(tmp_path: Path, bare: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / ".venv").symlink_to(bare)
    source = tmp_path / "src" / "app"
    source.mkdir(parents=True)
    assert interpreter.find(str(source), None)[1] == ".venv beside the app"


def test_wrong_interpreters_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such executable"):
        interpreter.find(str(tmp_path), str(tmp_path / "missing"))
    broken = tmp_path / "env" / "bin"
    broken.mkdir(parents=True)
    (broken / "python").symlink_to("/nowhere/python")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "env"))
    with pytest.raises(UserError, match="points to a Python that is gone"):
        interpreter.find(str(tmp_path), None)
    script = tmp_path / "python"
    for text, says in [
        ("echo hello", "does not answer like a Python"),
        ("echo 'no lib' >&2; exit 1", "cannot be used: no lib"),
        ("kill -9 $$", "cannot be used: it ended without a word"),
    ]:
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        with pytest.raises(UserError, match=says):
            interpreter.ask(str(script), "--python")


@pytest.mark.parametrize(
    ("version", "implementation", "says"),
    [([3, 9, 1], "cpython", "is Python 3.9; snapfork runs CPython 3.11"), ([3, 11, 0], "pypy", "is pypy")],
)
def test_an_unsupported_version_is_named(
    tmp_path: Path, version: list[int], implementation: str, says: str
) -> None:
    import json

    answer = json.dumps({
        "version": version, "implementation": implementation, "executable": "/x", "prefix": "/x",
        "soabi": "x", "versions": {},
    })  # fmt: skip
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\necho '{answer}'\n")
    script.chmod(0o755)
    with pytest.raises(UserError, match=says):
        interpreter.choose(str(tmp_path), str(script), silent)


def test_the_runners_own_interpreter_is_lent_nothing(tmp_path: Path) -> None:
    assert interpreter.choose(str(tmp_path), sys.executable, silent).borrow == []


def test_a_bare_environment_is_lent_what_it_lacks_and_nothing_else(tmp_path: Path, bare: Path) -> None:
    chosen = interpreter.choose(str(tmp_path), str(bare), silent)
    assert chosen.version == f"{sys.version_info[0]}.{sys.version_info[1]}"
    out = run_lent(
        chosen.path,
        chosen.borrow,
        """
import snapfork.runner.http, snapfork.runner.processes, snapfork.adapter
import httptools, uvloop, uvicorn, websockets, h11, click
for name in ("starlette", "pytest", "rich"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        print("no", name)
""",
    )
    assert out.splitlines() == ["no starlette", "no pytest", "no rich"]


def test_the_apps_own_packages_win_unless_they_are_too_old(tmp_path: Path) -> None:
    env = tmp_path / "env"
    venv.create(env, with_pip=False)
    fake_package(env, "h11", "0.8.0")
    fake_package(env, "uvicorn", "0.20.0")
    fake_package(env, "snapfork", "0.0.1")
    chosen = interpreter.choose(str(tmp_path), str(env), silent)
    out = run_lent(
        chosen.path,
        chosen.borrow,
        """
import h11, uvicorn, snapfork.runner.http
print(h11.own, hasattr(uvicorn, "own"), hasattr(snapfork, "own"))
""",
    )
    assert out == "0.8.0 False False"


def test_names_in_the_apps_directory_do_not_meet_the_lent_ones(tmp_path: Path, bare: Path) -> None:
    (tmp_path / "runner.py").write_text("mine = True\n")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "__init__.py").write_text("mine = True\n")
    chosen = interpreter.choose(str(tmp_path), str(bare), silent)
    out = run_lent(
        chosen.path,
        chosen.borrow,
        f"""
sys.path.insert(0, {str(tmp_path)!r})
import runner, adapter, snapfork.runner.http
print(runner.mine, adapter.mine)
""",
    )
    assert out == "True True"


def test_a_failed_fetch_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    said: list[str] = []
    wanted = {"snapfork-no-such-package": "1.0"}
    with pytest.raises(UserError, match=r"Python 3\.12 .* lacks what snapfork needs"):
        side_packages.provide("/nowhere/python", "3.12", "cpython-312", wanted, said.append)
    assert "fetching snapfork-no-such-package==1.0 for Python 3.12" in said[0]
    assert list((tmp_path / "snapfork").iterdir()) == []


def test_versions_are_compared_as_numbers() -> None:
    own = metadata.version("uvicorn")
    assert interpreter.unusable({"uvicorn": "0.20.0", "httptools": "0.6.10", "click": "1"}) == ["uvicorn"]
    assert interpreter.unusable({"uvicorn": own, "httptools": "0.6.4", "uvloop": "weird"}) == ["uvloop"]


def test_old_websockets_stay_the_apps_and_are_told(tmp_path: Path) -> None:
    env = tmp_path / "env"
    venv.create(env, with_pip=False)
    fake_package(env, "websockets", "12.0")
    said: list[str] = []
    chosen = interpreter.choose(str(tmp_path), str(env), said.append)
    assert run_lent(chosen.path, chosen.borrow, "import websockets; print(websockets.own)") == "12.0"
    assert "websockets 12.0" in said[0]
