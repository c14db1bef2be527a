"""A user without rights runs what lies where only root may enter, and sees nothing else that lies there."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from snapfork.runner.processes import as_user

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def nobody() -> tuple[int, int, str]:
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid, entry.pw_name


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A directory that only root may enter, with a tool and a secret in it."""
    for one in (tmp_path, *tmp_path.parents):
        if one != Path("/tmp") and one != Path("/"):
            one.chmod(0o755)
    closed = tmp_path / "closed"
    (closed / "tools").mkdir(parents=True)
    (closed / "private").mkdir()
    (closed / "private" / "secret").write_text("secret")
    (closed / "private" / "secret").chmod(0o644)
    shutil.copy(shutil.which("cat") or "/bin/cat", closed / "tools" / "cat")
    (closed / "tools" / "note").write_text("to be read")
    closed.chmod(0o700)
    return closed


def run(user: tuple[int, int, str], needed: list[str], *program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        as_user.command(user, needed, program), capture_output=True, text=True, timeout=150, check=False
    )


def test_what_is_needed_is_there_and_nothing_else(nobody: tuple[int, int, str], closed: Path) -> None:
    cat, tools = str(closed / "tools" / "cat"), str(closed / "tools")
    assert run(nobody, [], cat, f"{tools}/note").returncode == as_user.CANNOT
    done = run(nobody, [tools], cat, f"{tools}/note")
    assert (done.stdout, done.stderr) == ("to be read", "")
    hidden = run(nobody, [tools], cat, str(closed / "private" / "secret"))
    assert hidden.returncode == 1 and "No such file" in hidden.stderr
    # Nobody else sees a difference.
    assert (closed / "private" / "secret").read_text() == "secret"
    assert str(closed) not in Path("/proc/self/mounts").read_text()


def test_python_and_its_packages_run_and_may_change_nothing(nobody: tuple[int, int, str]) -> None:
    code = (
        "import os, sys, json, snapfork.runner, uvicorn; "
        "print(os.getresuid(), os.getgroups(), os.access(sys.prefix, os.W_OK))"
    )
    done = run(nobody, [], sys.executable, "-c", code)
    uid = nobody[0]
    assert done.stdout.strip() == f"({uid}, {uid}, {uid}) [] False", done.stderr


def test_what_cannot_be_run_is_said(nobody: tuple[int, int, str]) -> None:
    done = run(nobody, [], "/nowhere/at/all")
    assert done.returncode == as_user.CANNOT
    assert done.stderr == "/nowhere/at/all cannot be run as user nobody: No such file or directory\n"
