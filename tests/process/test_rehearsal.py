"""A base whose frameworks have been in use: what its templates need not do again; and it can be forked."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, os, sys
from snapfork.runner.processes import atfork, stdio, stock
stdio.prepare()
before = os.fstat(1).st_ino
assert stock.take(["flask", "fastapi", "starlette.applications"])
fit = stock.close()
told = {
    "fit": fit,
    "there": [name for name in ("pydantic.v1", "encodings.idna") if name in sys.modules],
    "same output": os.fstat(1).st_ino == before,
}
with atfork.passing():
    told["passing"] = atfork.is_passing()
told["between"] = atfork.is_passing()
told["handlers"] = len(atfork._noted)

os.write(1, json.dumps(told).encode())
os._exit(0)
"""


def told(*words: str) -> dict[str, object]:
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_stocked_base_has_used_its_frameworks_and_can_be_forked() -> None:
    found = told()
    assert found["fit"] is True
    assert found["same output"] is True
    assert "encodings.idna" in found["there"]  # type: ignore[operator]


def test_its_templates_find_the_fork_handlers_that_are_frozen_away() -> None:
    found = told()
    assert int(found["handlers"]) > 0  # type: ignore[call-overload]
    # For one fork only, as long as the template's own code may fork.
    assert (found["passing"], found["between"]) == (True, False)
