"""The pages that a start and its first request write to, copied by spares before they are asked for anything.

After a fork every first write to a page of the template costs a copy (2 µs here, and a Flask request makes
700 of them). The trial instance, which serves one warm-up request as a client's, notes which pages have
become its own; a spare asks the kernel for just these (MADV_POPULATE_WRITE, Linux 5.14; before it, spares
are only colder), without calling the app. Addresses hold, because all of them are forks of one template.
"""

from __future__ import annotations

import array
import mmap
import os

MAX_PAGES = 4096
"""What a spare copies at most; a request may write to far more than its next one needs."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROOM = 4095  # ranges that the note holds
_POPULATE_WRITE = 23  # linux/mman.h
# Documentation/admin-guide/mm/pagemap.rst
_PRESENT, _FILE, _EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56

Range = tuple[int, int]  # address and length, bytes


class Touched:
    """The note: made in a template before it forks, filled by its trial instance, read by its spares."""

    def __init__(self) -> None:
        import ctypes  # not at the top: processes that never fork instances do without

        self._words = memoryview(mmap.mmap(-1, (1 + 2 * _ROOM) * 8)).cast("Q")
        self._madvise = ctypes.CDLL(None).madvise
        self._madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

    def record(self) -> None:
        """In the trial instance, after its request."""
        ranges = within(own_pages(), MAX_PAGES)[:_ROOM]
        flat = array.array("Q", [number for pair in ranges for number in pair])
        self._words[1 : 1 + len(flat)] = memoryview(flat)
        self._words[0] = len(ranges)

    def populate(self) -> None:
        """In a spare: make those pages its own. Ranges that are not mapped here are passed over."""
        numbers = self._words[1 : 1 + 2 * self._words[0]].tolist()
        madvise = self._madvise
        for index in range(0, len(numbers), 2):
            madvise(numbers[index], numbers[index + 1], _POPULATE_WRITE)


def own_pages() -> list[Range]:
    """The private, writable pages that this process shares with no other, as ranges in address order."""
    found: list[Range] = []
    with (
        open("/proc/self/maps", "rb") as maps,
        open("/proc/self/pagemap", "rb", buffering=0) as pagemap,
    ):
        for line in maps.read().splitlines():
            place, rights = line.split()[:2]
            if rights[1:2] == b"w" and rights[3:4] == b"p":
                start, end = (int(part, 16) for part in place.split(b"-"))
                pagemap.seek(start // _PAGE * 8)
                _collect(found, start, pagemap.read((end - start) // _PAGE * 8))
    return found


def _collect(found: list[Range], address: int, entries: bytes) -> None:
    for entry in array.array("Q", entries[: len(entries) // 8 * 8]):
        if entry & _PRESENT and entry & _EXCLUSIVE and not entry & _FILE:
            if found and sum(found[-1]) == address:
                found[-1] = (found[-1][0], found[-1][1] + _PAGE)
            else:
                found.append((address, _PAGE))
        address += _PAGE


def within(ranges: list[Range], pages: int) -> list[Range]:
    """The shortest of `ranges` that together have at most so many pages, in address order."""
    kept: list[Range] = []
    for one in sorted(ranges, key=lambda one: one[1]):
        pages -= one[1] // _PAGE
        if pages < 0:
            break
        kept.append(one)
    return sorted(kept)
