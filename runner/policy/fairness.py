"""How many asynchronous invocations of each function run at a time. Pure.

Each function has a window of its own, which grows while work waits and runs are answered, and halves when
the function is throttled; and a share of the whole, so that one that is slow or has a long queue leaves room.
"""

from __future__ import annotations

TOTAL = 512
"""Invocations in flight that the dispatcher aims at over all functions."""
FIRST = 8
"""In flight of a function that is not known yet."""
ALWAYS = 2
"""What every function may have in flight, whatever the others do."""
PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class Window:
    """How much of one function may be in flight; `cap` is what it can serve at most, None if not known."""

    __slots__ = ("_credit", "_old", "cap", "pauses", "size")

    def __init__(self, cap: int | None = None) -> None:
        self.cap = cap
        self.size = FIRST
        self.pauses = 0
        self._credit = 0
        self._old = 0

    def answered(self, waiting: bool) -> None:
        """A run was answered, whatever by; `waiting` says that more is queued than was in flight."""
        self.pauses = 0
        self._old = max(0, self._old - 1)
        if not waiting:
            return
        self._credit += 1
        if self._credit >= self.size:  # one more for each window's worth of answers
            self._credit = 0
            self.size = min(TOTAL, self.size + max(1, self.size // 8))

    def refused(self, others: int) -> float:
        """A run was throttled while `others` of this function were in flight; seconds for which no other
        should be tried. Those others were begun under the old size: their refusals say nothing new."""
        if self._old > 0:
            self._old -= 1
            return 0.0
        self._credit = 0
        self._old = others
        if self.size > 1:
            self.size = self.size // 2
            return 0.0
        self.pauses += 1
        return float(min(LONGEST_PAUSE_S, PAUSE_S * 2.0 ** min(self.pauses - 1, 10)))

    def unavailable(self, others: int) -> float:
        """A run was not possible for a reason that is no shortage of this function's: as `refused`, but the
        next try is put off at once."""
        if self._old > 0:
            self._old -= 1
            return 0.0
        self._old = others
        self.pauses += 1
        return float(min(LONGEST_PAUSE_S, PAUSE_S * 2.0 ** min(self.pauses - 1, 10)))

    def allowance(self, others: int, room: int) -> int:
        """How many may be in flight while `others` functions have work too and `room` of TOTAL is free."""
        share = max(ALWAYS, TOTAL // (others + 2))
        wanted = min(self.size, share)
        if room <= 0:
            wanted = min(wanted, ALWAYS)
        return wanted if self.cap is None else max(0, min(wanted, self.cap))
