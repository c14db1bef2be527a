"""Memory of a template in huge pages, where it fills them: a fork then copies one entry of the page tables
for 512 pages, and touches one of the kernel's records instead of 512.

That is a fifth of what forking a process with numpy, pandas and scikit-learn costs. A page that an instance
writes to is copied alone, as ever. Blocks of which more than a tenth is free, or shared with the base that
the template was forked from, stay as they are: they would take more memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

BUDGET_S = 0.1
"""How long it may take: a second's worth is some gigabytes."""
_BLOCK = 2 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PAGES = _BLOCK // _PAGE
_MADV_COLLAPSE = 25  # Linux 6.1
_OURS = 0x81
"""The highest byte of a page's entry in /proc/self/pagemap: present, of no file, in no other process."""


def gather() -> None:
    """Have the kernel move full blocks of this process's own memory into huge pages, where it can."""
    import ctypes  # not at the top: only templates need it

    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    end = time.monotonic() + BUDGET_S
    try:
        for start, size in list(_full()):
            if madvise(start, size, _MADV_COLLAPSE) or time.monotonic() > end:
                return
    except OSError:  # of a process that is not dumpable, /proc is root's
        return


def _full() -> Iterator[tuple[int, int]]:
    """Address and length of what is full, neighbouring blocks in one."""
    with open("/proc/self/maps", "rb") as maps, open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        for line in maps.read().splitlines():
            place, rights, _, _, inode, *name = line.split(None, 5)
            if rights != b"rw-p" or inode != b"0" or name not in ([], [b"[heap]"]):
                continue
            first, last = (int(part, 16) for part in place.split(b"-"))
            run = 0
            for start in range(-(-first // _BLOCK) * _BLOCK, last - _BLOCK + 1, _BLOCK):
                pagemap.seek(start // _PAGE * 8)
                if pagemap.read(_PAGES * 8)[7::8].count(_OURS) >= _PAGES * 9 // 10:
                    run += _BLOCK
                    continue
                if run:
                    yield start - run, run
                run = 0
            if run:
                yield last // _BLOCK * _BLOCK - run, run
