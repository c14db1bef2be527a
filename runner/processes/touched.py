"""The pages that a start and its first request touch, fetched by spares before they are asked for anything.

After a fork every first write to a page of the template costs a copy (2 µs here, and a Flask request makes
700 of them), and every first use of a library's code a fault. The trial instance, which serves one warm-up
request as a client's, notes which pages have become its own and which of files it has used; a spare asks the
kernel for just these (MADV_POPULATE_*, Linux 5.14; before it, spares are only colder), without calling the
app. Addresses hold, because all of them are forks of one template.
"""

from __future__ import annotations

import array
import mmap
import os

MAX_PAGES = 4096
"""What a spare copies at most; a request may write to far more than its next one needs."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROOM = 4095  # ranges of either kind that the note holds
_POPULATE_READ, _POPULATE_WRITE = 22, 23  # linux/mman.h
# Documentation/admin-guide/mm/pagemap.rst
_PRESENT, _FILE, _EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56

Range = tuple[int, int]  # address and length, bytes


class Touched:
    """The note: made in a template before it forks, filled by its trial instance, read by its spares."""

    def __init__(self) -> None:
        import ctypes  # not at the top: processes that never fork instances do without

        room = (1 + 2 * _ROOM) * 8
        self._own = memoryview(mmap.mmap(-1, room)).cast("Q")
        self._files = memoryview(mmap.mmap(-1, room)).cast("Q")
        self._madvise = ctypes.CDLL(None).madvise
        self._madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

    def record(self) -> None:
        """In the trial instance, after its request."""
        try:
            own, files = pages()
        except PermissionError:  # of a process that is not dumpable, /proc is root's: spares are colder
            return
        _write(self._own, within(own, MAX_PAGES))
        _write(self._files, within(files, MAX_PAGES))

    def populate(self) -> None:
        """In a spare: fetch those pages. Ranges that are not mapped here are passed over."""
        for words, advice in ((self._own, _POPULATE_WRITE), (self._files, _POPULATE_READ)):
            numbers = words[1 : 1 + 2 * words[0]].tolist()
            for index in range(0, len(numbers), 2):
                self._madvise(numbers[index], numbers[index + 1], advice)


def _write(words: memoryview, ranges: list[Range]) -> None:
    flat = array.array("Q", [number for pair in ranges[:_ROOM] for number in pair])
    words[1 : 1 + len(flat)] = memoryview(flat)
    words[0] = len(flat) // 2


def pages() -> tuple[list[Range], list[Range]]:
    """(writable pages that this process shares with no other, read-only pages of files that it has used)"""
    own: list[Range] = []
    files: list[Range] = []
    with (
        open("/proc/self/maps", "rb") as maps,
        open("/proc/self/pagemap", "rb", buffering=0) as pagemap,
    ):
        for line in maps.read().splitlines():
            place, rights = line.split()[:2]
            start, end = (int(part, 16) for part in place.split(b"-"))
            if rights[3:4] != b"p" or start >> 63:
                continue
            pagemap.seek(start // _PAGE * 8)
            entries = pagemap.read((end - start) // _PAGE * 8)
            if rights[1:2] == b"w":
                _collect(own, start, entries, _PRESENT | _EXCLUSIVE, _PRESENT | _EXCLUSIVE | _FILE)
            else:
                _collect(files, start, entries, _PRESENT | _FILE, _PRESENT | _FILE)
    return own, files


def _collect(found: list[Range], address: int, entries: bytes, wanted: int, mask: int) -> None:
    for entry in array.array("Q", entries[: len(entries) // 8 * 8]):
        if entry & mask == wanted:
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
