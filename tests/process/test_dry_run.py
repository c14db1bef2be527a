"""A template does what its instances will do, with a stub in the app's place: nothing of it stays."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, json, os, sys, threading
from snapfork.adapter import settings
from snapfork.runner.http.forwarded import Trusted
from snapfork.runner.http.routes import Route, Routes
from snapfork.runner.processes import dry_run, stdio
from snapfork.runner.processes.access import AccessLog
from snapfork.runner.processes.serving import Served
from snapfork.runner.processes.wsgi_conversation import Conversation
from snapfork.runner.processes.asgi_exchange import Exchange

interface, concurrency = sys.argv[1], int(sys.argv[2])
called, answered = [], []
limits = {"concurrency": concurrency, "max_requests": 1, "memory": "64MB"}
served = Served(
    lambda *_: called.append(1), interface, settings.resolve({}, limits), "shop",
    Routes([Route("shop.example", "/shop", "shop")]), Trusted([]), AccessLog(2, "text", "shop"), "0",
)
stdio.prepare()
out = os.dup(1)
dry_run.repeat(served, 1)  # imports
begun = Conversation._serve
Conversation._serve = lambda *words: answered.append(1) or begun(*words)
created = Exchange.__init__
Exchange.__init__ = lambda *words: answered.append(1) or created(*words)
before = sorted(os.listdir("/proc/self/fd"))
dry_run.repeat(served, 3)
reaper = ctypes.c_int(-1)
ctypes.CDLL(None).prctl(37, ctypes.byref(reaper), 0, 0, 0)  # PR_GET_CHILD_SUBREAPER
told = {
    "called": called, "answered": len(answered), "same": sorted(os.listdir("/proc/self/fd")) == before,
    "threads": len(os.listdir("/proc/self/task")), "reaper": reaper.value, "app": served.app is not None,
    "limit": __import__("resource").getrlimit(__import__("resource").RLIMIT_DATA)[0],
}
os.write(out, json.dumps(told).encode())
os._exit(0)
"""


@pytest.mark.parametrize(
    ("interface", "concurrency", "answered"), [("wsgi", 1, 3), ("wsgi", 4, 0), ("asgi", 32, 3)]
)
def test_a_template_is_an_instance_that_serves_nobody(
    interface: str, concurrency: int, answered: int
) -> None:
    words = [sys.executable, "-c", PROGRAM, interface, str(concurrency)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {
        "called": [],
        "answered": answered,
        "same": True,
        "threads": 1,
        "reaper": 0,
        "app": True,
        "limit": -1,
    }
    assert done.stderr == ""
