"""What processes hold: private (USS) and proportional (PSS) memory, as the kernel's smaps_rollup gives it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Memory:
    """Bytes. `uss`: pages that no other process has; `pss`: shared pages divided by those who share them."""

    uss: int = 0
    pss: int = 0
    rss: int = 0
    processes: int = 0

    def __add__(self, other: Memory) -> Memory:
        return Memory(
            self.uss + other.uss,
            self.pss + other.pss,
            self.rss + other.rss,
            self.processes + other.processes,
        )


def of(pid: int) -> Memory:
    """One process. Raises OSError when it is gone or another user's."""
    found: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        found[name] = int(value.split()[0]) * 1024
    private = found.get("Private_Clean", 0) + found.get("Private_Dirty", 0)
    return Memory(private, found.get("Pss", 0), found.get("Rss", 0), 1)


def of_all(pids: Iterable[int]) -> Memory:
    """The sum over processes; those that are gone do not count."""
    total = Memory()
    for pid in pids:
        try:
            total += of(pid)
        except OSError:
            continue
    return total
