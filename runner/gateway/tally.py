"""Counts of one function that outlive its instances."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Any

from snapfork.runner.wire import page
from snapfork.runner.wire.page import BUCKETS_NS, W_BUCKETS, W_CUT, W_DONE, W_DURATION, W_LOG_DROPS, W_STATUS

_DURATION_WORDS = len(BUCKETS_NS) + 1


class Histogram:
    """Observations in the buckets of the scoreboard, nanoseconds in, seconds out."""

    __slots__ = ("counts", "total_ns")

    def __init__(self) -> None:
        self.counts = [0] * _DURATION_WORDS
        self.total_ns = 0

    def observe(self, duration_ns: int) -> None:
        self.counts[bisect_left(BUCKETS_NS, duration_ns)] += 1
        self.total_ns += duration_ns

    def add_words(self, words: memoryview) -> None:
        """Add the duration histogram of an instance's page."""
        self.total_ns += words[W_DURATION]
        for index in range(_DURATION_WORDS):
            self.counts[index] += words[W_BUCKETS + index]

    def as_dict(self) -> dict[str, Any]:
        """{"count", "sum" (seconds), "buckets": [[upper bound in seconds, cumulative count], ...]}."""
        running, buckets = 0, []
        for bound, count in zip(BUCKETS_NS, self.counts, strict=False):
            running += count
            buckets.append([bound / 1e9, running])
        return {"count": sum(self.counts), "sum": self.total_ns / 1e9, "buckets": buckets}


class Meters:
    """What instances count on their pages, added up; an instance's words are its own claim."""

    __slots__ = ("cut", "durations", "log_drops", "requests", "statuses")

    def __init__(self) -> None:
        self.requests = 0
        self.statuses = [0] * 5
        self.durations = Histogram()
        self.cut = 0
        self.log_drops = 0

    def add_words(self, words: memoryview) -> None:
        self.requests += words[W_DONE]
        self.cut += words[W_CUT]
        self.log_drops += words[W_LOG_DROPS]
        for index in range(5):
            self.statuses[index] += words[W_STATUS + index]
        self.durations.add_words(words)

    def plus(self, pages: list[memoryview]) -> Meters:
        """A copy with the pages of living instances added."""
        sum_ = Meters()
        sum_.requests, sum_.cut, sum_.log_drops = self.requests, self.cut, self.log_drops
        sum_.statuses = list(self.statuses)
        sum_.durations.counts = list(self.durations.counts)
        sum_.durations.total_ns = self.durations.total_ns
        for words in pages:
            sum_.add_words(words)
        return sum_


class Tally:
    """One function's counters since the runner started."""

    def __init__(self) -> None:
        self.gone = Meters()
        self.starts: Counter[str] = Counter()
        self.start_times: dict[str, Histogram] = {}
        self.errors: Counter[int] = Counter()
        self.deaths: Counter[str] = Counter()
        self.queue_waits = Histogram()

    def started(self, kind: str, duration_ns: int) -> None:
        self.start_times.setdefault(kind, Histogram()).observe(duration_ns)

    def left(self, words: memoryview) -> None:
        """An instance is gone: keep what its page says."""
        if words[page.W_MAGIC] == page.MAGIC:
            self.gone.add_words(words)
