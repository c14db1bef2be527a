"""Memory of a process as the kernel counts it, in bytes."""

from __future__ import annotations

import contextlib
import os
import resource

_PAGE = os.sysconf("SC_PAGE_SIZE")


def rss_bytes(pid: int | None = None) -> int:
    """Resident memory of `pid` (default: this process), shared pages included. Raises OSError if gone."""
    with open(f"/proc/{pid or 'self'}/statm", "rb", buffering=0) as file:
        return int(file.read(200).split()[1]) * _PAGE


def faulted_bytes() -> int:
    """About what this process has of its own since it was forked, at no cost: a page for each minor fault.
    Too much where files are read through their mapping, too little where pages are huge."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt * _PAGE


def private_bytes(pid: int | None = None) -> int:
    """Memory that only `pid` maps (USS). Slower than `rss_bytes`: the kernel walks the page tables.

    Raises OSError if the process is gone or not ours.
    """
    total = 0
    with open(f"/proc/{pid or 'self'}/smaps_rollup", "rb", buffering=0) as file:
        text = file.read(8192)
    for line in text.splitlines():
        if line.startswith((b"Private_Clean:", b"Private_Dirty:", b"Private_Hugetlb:")):
            total += int(line.split()[1]) * 1024
    return total


def runnable() -> int:
    """How many threads of this machine run or want to; 0 where the kernel does not say."""
    with open("/proc/loadavg", "rb", buffering=0) as file:
        return int(file.read(200).split()[3].partition(b"/")[0])


def processor_ns(pid: int) -> int:
    """How long a process has run and waited for a processor; 0 where the kernel does not say."""
    try:
        with open(f"/proc/{pid}/schedstat", "rb", buffering=0) as file:
            ran, waited, _ = file.read(200).split()
    except (OSError, ValueError):
        return 0
    return int(ran) + int(waited)


def sleeps(pid: int) -> bool:
    """Whether a process waits for something else than a processor; True when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read(512).rpartition(b") ")[2][:1] != b"R"
    except OSError:
        return True


def prefer_for_oom_kill(pid: int | str, score: int) -> None:
    """Raise a process's chance of being taken when memory runs out, as far as the system allows it."""
    with contextlib.suppress(OSError):
        # Not open(): this runs beside every start.
        fd = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"%d" % score)
        finally:
            os.close(fd)
