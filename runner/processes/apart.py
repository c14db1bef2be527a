"""Questions answered in a child that ends: what they import, every fork of this process would pay for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from snapfork.runner.processes import life


def ask(question: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `question` answers in a fork of this process; {"error": text} if it does not."""
    read, write = os.pipe2(os.O_CLOEXEC)
    with life.shielded_children():
        pid = os.fork()
    if pid == 0:
        _answer(question, write)
    os.close(write)
    with open(read, "rb") as pipe:
        said = pipe.read()
    status = os.waitpid(pid, 0)[1]
    if said:
        answer: dict[str, Any] = json.loads(said)
        return answer
    return {"error": f"the process that was to find out ended with {os.waitstatus_to_exitcode(status)}"}


def _answer(question: Callable[[], dict[str, Any]], write: int) -> None:
    try:
        try:
            said = question()
        except BaseException as error:  # whatever it is, it is the answer
            said = {"error": f"{type(error).__name__}: {error}"}
        with open(write, "wb") as pipe:
            pipe.write(json.dumps(said).encode())
    finally:
        os._exit(0)
