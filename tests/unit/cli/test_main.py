"""The command line as typed: help that teaches, and one sentence for every mistake."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""

ALONE = """
import sys
from pathlib import Path
from snapfork.runner import runtime_dir
from snapfork.runner.cli.main import main

runtime_dir.candidates = lambda: [Path("run")]
sys.exit(main())
"""
"""The command line, which here sees no runner that happens to run."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "hello.py").write_text(APP)
    return tmp_path


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(directory), "COLUMNS": "200", "TERM": "dumb"}
    environment.pop("VIRTUAL_ENV", None)
    return subprocess.run(
        [sys.executable, "-c", ALONE, *words],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["serve", "ps", "status", "reload", "stop", "doctor"])
def test_every_command_teaches_by_examples(project: Path, command: str) -> None:
    done = run(project, command, "--help")
    assert done.returncode == 0
    assert "Examples" in done.stdout
    assert f"runner {command}" in done.stdout


def test_every_setting_is_a_flag(project: Path) -> None:
    from snapfork.adapter.settings import SETTINGS

    text = run(project, "serve", "--help").stdout
    for setting in SETTINGS:
        assert "--" + setting.name.replace("_", "-") in text


def test_the_version(project: Path) -> None:
    assert run(project, "--version").stdout.startswith("snapfork ")


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        (["serve", "--control-auth", "off"], "--control-auth off: keys or none", ""),
        (["serve", "--account", "1"], "--account 1: 12 to 16 digits", ""),
        (["serve", "hello:app", "--template-memory", "1GB"], "--template-memory is for deployed", ""),
        (["serve", "hello.py:app"], "'hello.py' is a file", "runner serve hello:app"),
        (["serve", "hello:app", "--app-dir", "missing"], "--app-dir missing: no such directory", ""),
        (["serve", "hello:app", "--certfile", "x.pem"], "TLS ends in a proxy", "nginx"),
        (["serve", "hello:app", "--timeout", "never"], "--timeout must be", ""),
        (["serve", "hello:app", "--env", "X"], "--env X", "--env DEBUG=1"),
        (["serve", "hello:app", "--control", "0.0.0.0:1"], "must be on loopback", "127.0.0.1"),
        (["serve", "hello:app", "--port", "0", "--python", "nopython"], "--python nopython: no such", ""),
        (["serve", "hello:app", "--trusted-proxies", "x"], "'x' is not an address", ""),
        (["serve", "hello:app", "other:app"], "all want the whole listener", "--mount"),
        (["serve", "hello:app", "--uds", "no/dir/s"], "does not exist", "mkdir"),
        (["serve", "hello:app", "--uds", "s", "--port", "0"], "--uds and --port exclude", "Leave --port"),
        (["serve", "hello:app", "--ssl-certfile=x.pem"], "TLS ends in a proxy", "nginx"),
        (["serve", "hello:app", "--workers", "4"], "has no --workers", "--max-instances"),
        (["serve", "hello:app", "-b", ":80"], "has no -b", "--host ADDRESS and --port PORT"),
        (["serve", "hello:app", "--min-instances=3", "--max-instances=2"], "min_instances is 3", ""),
        (["status"], "No runner of yours is running", "runner serve"),
        (["ls"], "No runner of yours serves deployed functions", "runner serve"),
        (["ls", "--url", "ftp://h"], "--url ftp://h: http://HOST:PORT is needed", ""),
        (["deploy", "missing"], "missing: there is no such file", ""),
        (["deploy", "hello.py", "--name", "1"], "'1' is no name for a function", "--name shop"),
        (["invoke", "f", "@missing"], "missing cannot be read", ""),
        (["invoke", ":live"], "':live' names no function", "shop:live"),
        (["logs", "f", "--since", "ever"], "No runner of yours serves", "runner serve"),
        (["reload", "1"], "No runner of yours has pid 1", "runner ps"),
        (["doctor", "missing:app"], "missing", ""),
    ],
)
def test_a_mistake_is_a_sentence_on_stderr_and_2(
    project: Path, words: list[str], says: str, hint: str
) -> None:
    done = run(project, *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert hint in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_taken_port_leaves_nothing_behind(project: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        done = run(project, "serve", "hello:app", "--port", str(port))
    assert done.returncode == 2
    assert f"Port {port} on 127.0.0.1 is in use" in done.stderr
    assert not (project / "snapfork").exists()


def test_nothing_runs_so_ps_says_how_to_start(project: Path) -> None:
    done = run(project, "ps")
    assert (done.returncode, done.stdout.startswith("No runner of yours")) == (0, True)


def test_help_imports_no_server(project: Path) -> None:
    code = (
        "import sys; from snapfork.runner.cli.main import build; build([]);"
        "print([m for m in ('uvloop', 'uvicorn', 'starlette', 'rich.table') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=150, check=True
    )
    assert done.stdout.strip() == "[]"
