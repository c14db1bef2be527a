"""Full memory of a template moves into huge pages; what is sparse or shared stays as it is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, json, mmap, os, re
from snapfork.runner.processes import huge

MB = 1 << 20

def private(pages, flags=0):
    memory = mmap.mmap(-1, 16 * MB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | flags)
    for page in range(0, 4096, pages):
        memory[page * 4096] = page % 251
    return memory

def in_huge_pages(memory):
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    total = 0
    for place in re.split(r"(?m)^(?=[0-9a-f]+-)", open("/proc/self/smaps").read())[1:]:
        start, end = (int(part, 16) for part in place.split(None, 1)[0].split("-"))
        if address < end and start < address + 16 * MB:
            total += int(re.search(r"AnonHugePages: +(\\d+)", place)[1]) >> 10
    return total

shared = private(1)
read, write = os.pipe()
pid = os.fork()
if pid == 0:  # the parent waits: what both have is shared, what is made here is not
    full, sparse = private(1), private(2, 0x4000)  # MAP_NORESERVE: no mapping with the other
    huge.gather()
    kept = [memory[page * 4096] == page % 251 for memory in (full, shared) for page in range(4096)]
    told = [in_huge_pages(memory) for memory in (full, sparse, shared)] + [all(kept)]
    os.write(write, json.dumps(told).encode())
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
os.write(1, os.read(read, 4096))
"""


def test_what_is_full_and_ones_own_moves_into_huge_pages() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    full, sparse, shared, kept = json.loads(done.stdout)
    assert (sparse, shared, kept) == (0, 0, True)
    if full == 0:
        pytest.skip("this kernel moves nothing into huge pages on demand")
    assert full >= 12  # of 16 MB, whose ends need not be those of blocks
