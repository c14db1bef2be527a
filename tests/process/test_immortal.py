"""Immortal objects: marked where the version is known, and nothing an app does is different."""

from __future__ import annotations

import subprocess
import sys

import pytest

KNOWN = sys.version_info[:2] in ((3, 12), (3, 13))

PROGRAM = """
import gc, sys, weakref
import logging, json, decimal, fractions
from snapfork.runner.processes import immortal

class Held:
    ended = []
    def __del__(self):
        self.ended.append(id(self))

def function(a, b=("x", (1, 2.5, b"y")), *, c="kept"):
    def inner():
        return a
    return inner, f"{a} {b} {c}", "constant of a function" + str(a)

held = Held()
pair = (held, "with something that ends")
bound = held.__class__.ended.append
number, text = 10**30, "a text " * 3
before = [sys.getrefcount(x) for x in (function, Held, text, held, pair)]
marked = immortal.mark_all()
assert marked == 0 or marked > 10_000, marked
again = [sys.getrefcount(x) for x in (function, Held, text, held, pair)]
if not marked:
    assert again == before
    sys.exit(0)
assert again[:3] == [0xFFFFFFFF] * 3, again
assert again[3:] == before[3:], "what owns something that ends is counted as ever"
for _ in range(3):
    things = [function(number) for _ in range(1000)]
    assert things[0][0]() == number and things[0][1].endswith("kept")
    del things
    gc.collect()
    gc.freeze()
assert sys.getrefcount(function) == 0xFFFFFFFF

# Names and classes go and come.
saved = function
del function
Held.extra = json.dumps({"a": [1, None, "b"]})
Sub = type("Sub", (Held,), {"__doc__": text})
gone = weakref.ref(Sub)
del Sub
gc.collect()
assert gone() is None, "what was made later is released"
this = id(held)
del held, pair
gc.collect()
assert Held.ended == [this]
try:
    saved()
except TypeError as error:
    assert "missing 1 required positional argument" in str(error)
assert str(decimal.Decimal(1) / 3).startswith("0.333") and fractions.Fraction(1, 3) * 3 == 1
logging.getLogger("a").warning("%s %s", text, number)
text += "grows"
assert text.endswith("grows") and sys.getrefcount(text) < 10
gc.unfreeze()
gc.collect()
print("whole")
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=150, check=False
    )


def test_counting_stops_for_what_owns_nothing() -> None:
    done = run(PROGRAM)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("whole\n" if KNOWN else "")


@pytest.mark.skipif(not KNOWN, reason="this version of Python has no immortal objects, or they are not known")
def test_nothing_is_marked_when_the_field_is_not_as_expected() -> None:
    other = PROGRAM.replace("before = [", "immortal._set = lambda thing, mark: None\nbefore = [", 1).replace(
        "assert marked == 0 or marked > 10_000", "assert marked == 0"
    )
    done = run(other)
    assert done.returncode == 0, done.stderr


def test_children_write_to_fewer_pages() -> None:
    done = run(
        """
import os, sys, gc, resource
import json, decimal, logging, email.message, http.client, argparse
from snapfork.runner.processes import immortal
functions = [f for m in list(sys.modules.values()) for f in vars(m).values() if hasattr(f, "__code__")]
def faults():
    read, write = os.pipe()
    if os.fork() == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        references = list(functions)
        os.write(write, b"%d" % (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
        os._exit(0)
    os.close(write)
    os.wait()
    return int(os.read(read, 20))
before = faults()
marked = immortal.mark_all()
gc.freeze()
after = faults()
print(before, after)
assert after < before / 4 if marked else after > before / 2
"""
    )
    assert done.returncode == 0, done.stdout + done.stderr
