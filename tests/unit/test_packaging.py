"""pyproject.toml says what is in the tree, and nothing lies at the top that does not belong there."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import snapfork.adapter

ROOT = Path(__file__).resolve().parents[2]
TOP = {"pyproject.toml", "README.md", "adapter", "runner", "examples", "tests", "benchmarks"}


def test_every_package_is_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [
        "snapfork." + ".".join(file.parent.relative_to(ROOT).parts)
        for part in ("adapter", "runner")
        for file in (ROOT / part).rglob("__init__.py")
    ]
    assert sorted(listed) == sorted(found)


def test_the_top_level_holds_nothing_else() -> None:
    command = ["git", "-c", "safe.directory=*", "ls-files"]
    try:
        files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no git, or not a git checkout")
    tops = {line.split("/")[0] for line in files.splitlines()}
    assert {top for top in tops if not top.startswith(".")} == TOP


def test_both_commands_say_the_installed_version() -> None:
    try:
        version = metadata.version("snapfork")
    except metadata.PackageNotFoundError:
        pytest.skip("snapfork runs from its source tree here")
    assert snapfork.adapter.__version__ == version
    for name in ("runner", "snapfork"):
        command = [str(Path(sys.executable).parent / name), "--version"]
        assert version in subprocess.run(command, capture_output=True, text=True, check=True).stdout
