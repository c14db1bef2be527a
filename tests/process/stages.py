"""Running the stage driver on an app given as source text."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

DRIVER = Path(__file__).with_name("stage_driver.py")


def take_through(directory: Path, source: str, children: int = 2, **variables: str) -> dict[str, Any]:
    """What the driver printed for an app with this source; fails with its stderr if it died."""
    path = directory / "shop.py"
    path.write_text(textwrap.dedent(source))
    import os

    done = subprocess.run(
        [sys.executable, str(DRIVER), str(path), str(children)],
        capture_output=True,
        text=True,
        cwd=directory,
        env=os.environ | variables,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    said["stdout"], said["stderr"] = done.stdout, done.stderr
    return said


def results(said: dict[str, Any]) -> list[Any]:
    """What `use()` returned in each child; fails with the child's traceback."""
    for child in said["children"]:
        assert "error" not in child, child["error"]
    return [child["result"] for child in said["children"]]


def kinds(said: dict[str, Any], severity: str = "spawn") -> list[str]:
    """The kinds of the final findings of that severity."""
    return [finding["kind"] for finding in said["findings"] if finding["severity"] == severity]
