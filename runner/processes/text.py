"""The interpreter's code in an instance's page tables from its first moment.

A fork does not copy the entries of mapped files: an instance has a fault for every 64 KB of the interpreter
and of libc that it runs, 65 of them at a start. The kernel does copy them where a mapping has a page of its
own (`vma_needs_copy` in mm/memory.c), as the data of libraries have. So a template writes a byte of these
mappings over itself; /proc/self/mem does that where the mapping is not writable.
"""

from __future__ import annotations

import os

_LIBRARIES = (b"libpython", b"libc.so", b"libc-")


def travel() -> None:
    """Have forks of this process begin with its page tables of the interpreter and of libc, where allowed."""
    program = os.fsencode(os.path.realpath("/proc/self/exe"))
    try:
        with open("/proc/self/maps", "rb") as maps, open("/proc/self/mem", "r+b", buffering=0) as memory:
            for line in maps.read().splitlines():
                place, rights, _, _, _, *name = line.split(None, 5)
                if rights in (b"r-xp", b"r--p") and name and _is_interpreters(name[0], program):
                    _touch(memory.fileno(), int(place.split(b"-")[1], 16) - 1)
    except OSError:  # who may not do so pays for the faults
        return


def _is_interpreters(path: bytes, program: bytes) -> bool:
    return path == program or path.rpartition(b"/")[2].startswith(_LIBRARIES)


def _touch(memory: int, address: int) -> None:
    os.pwrite(memory, os.pread(memory, 1, address), address)
