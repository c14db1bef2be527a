"""The scoreboard: one page of shared memory per instance, through which requests cost no message.

The instance writes its words and the gateway its own; every word has one writer and every decision
reads one word, so no ordering between words is relied upon. Times are CLOCK_MONOTONIC nanoseconds.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left

PAGE = 4096
MAGIC = 0x736E6170666F726B  # "snapfork"

# Words written by the gateway.
W_MAGIC, W_GENERATION, W_LEAVE, W_DEMAND, W_STOPPING = 0, 1, 2, 3, 4
W_RECALL = 5  # loans with a smaller id go back before a further request
W_TAKEN = 6  # those with a smaller id are not the instance's any more, but for the one in W_CURRENT
# Words written by the instance.
W_BUSY, W_STARTED, W_DONE, W_HEARTBEAT, W_WAITING = 8, 9, 10, 11, 12
W_LOANS = 13  # loans whose first request has begun
W_DURATION, W_STREAMS, W_READY, W_CUT, W_LOG_DROPS, W_LEAVING = 14, 15, 16, 17, 18, 19
W_CURRENT = 20  # the loan that is worked on; W_TAKEN and this one change under the page's lock (guard.py)
W_STATUS = 24  # five words: 1xx .. 5xx
W_BUCKETS = 32  # len(BUCKETS_NS) + 1 words
W_SLOTS = 64
SLOT = 8  # words per slot
S_LOAN, S_STATE, S_CONSUMED, S_WRITTEN, S_REQUESTS, S_SINCE, S_NEXT_CONSUMED, S_NEXT_WRITTEN = range(8)

FREE, BOUNDARY, RUNNING, BEGUN, ANSWERED = range(5)

BUCKETS_NS = tuple(
    int(ms * 1e6) for ms in (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000)
)
"""Upper bounds of the duration histogram, nanoseconds; a last bucket holds the rest."""


def page_bytes(nslots: int) -> int:
    """Size in bytes of the page of an instance with `nslots` connection slots (whole memory pages)."""
    need = (W_SLOTS + SLOT * nslots) * 8
    return -(-need // PAGE) * PAGE


def make_page(nslots: int) -> int:
    """Return the descriptor of a new, zeroed memfd that holds one scoreboard page."""
    fd = os.memfd_create("snapfork-page", os.MFD_CLOEXEC)
    os.ftruncate(fd, page_bytes(nslots))
    return fd


def map_words(fd: int) -> memoryview:
    """Map the page behind `fd` (shared, writable) as unsigned 64-bit words; `fd` may be closed after."""
    return memoryview(mmap.mmap(fd, 0)).cast("Q")


def unmap(words: memoryview) -> None:
    """Give back what `map_words` mapped, and the descriptor that the mapping keeps."""
    mapped = words.obj
    words.release()
    if isinstance(mapped, mmap.mmap):
        mapped.close()


class Page:
    """The instance's side of its own page. Not thread-safe: callers with threads hold one lock."""

    __slots__ = ("words",)

    def __init__(self, words: memoryview) -> None:
        self.words = words

    @property
    def generation_wanted(self) -> int:
        return self.words[W_GENERATION]

    @property
    def leave(self) -> int:
        """0 stay, 1 give everything back at the next boundary, 2 also end streams."""
        return self.words[W_LEAVE]

    def recalled(self, loan: int) -> bool:
        """True when who gets further requests on the connection of `loan` is to be decided anew."""
        return loan < self.words[W_RECALL]

    @property
    def taken(self) -> int:
        return self.words[W_TAKEN]

    def turned_to(self, loan: int) -> None:
        """Said with the lock held: `loan` is worked on, and may not be taken."""
        self.words[W_CURRENT] = loan

    @property
    def demand(self) -> int:
        """Non-zero while requests wait in the gateway: idle connections are to be given back."""
        return self.words[W_DEMAND]

    @property
    def stopping(self) -> bool:
        """True once the whole runner stops: clients are told with their next answer that it is the last."""
        return bool(self.words[W_STOPPING])

    def ready(self) -> None:
        self.words[W_READY] = 1

    def leaving(self) -> None:
        """This process has decided by itself to go: it is not to be lent to any more."""
        self.words[W_LEAVING] = 1

    def claim(self, slot: int, loan: int) -> None:
        """A loan arrived: its slot now counts from zero."""
        words, base = self.words, W_SLOTS + SLOT * slot
        words[base + S_CONSUMED] = words[base + S_WRITTEN] = words[base + S_REQUESTS] = 0
        words[base + S_STATE] = BOUNDARY
        words[base + S_LOAN] = loan

    def release(self, slot: int) -> None:
        self.words[W_SLOTS + SLOT * slot + S_STATE] = FREE

    def wrote(self, slot: int, written: int) -> None:
        """Said before `begin` on a connection that goes on: what earlier answers took, all in the kernel."""
        self.words[W_SLOTS + SLOT * slot + S_WRITTEN] = written

    def reading(self, slot: int) -> None:
        """Said before a read from a Unix socket, which has no counters to tell of it afterwards."""
        self.words[W_SLOTS + SLOT * slot + S_STATE] = RUNNING

    def begin(self, slot: int, now_ns: int) -> None:
        """A request starts on the slot's connection (called before the app is)."""
        words, base = self.words, W_SLOTS + SLOT * slot
        words[base + S_STATE] = RUNNING
        words[base + S_SINCE] = now_ns
        if words[base + S_REQUESTS] == 0:
            words[W_LOANS] += 1
        words[base + S_REQUESTS] += 1
        words[W_BUSY] += 1
        words[W_STARTED] += 1

    def first_byte(self, slot: int) -> None:
        """Called before the first byte of a response is sent."""
        self.words[W_SLOTS + SLOT * slot + S_STATE] = BEGUN

    def finish(self, slot: int, status: int, duration_ns: int) -> None:
        """The app's call has returned and the response is complete (or lost); `status` 0 is not counted."""
        words = self.words
        words[W_BUSY] -= 1
        words[W_DONE] += 1
        words[W_DURATION] += duration_ns
        words[W_BUCKETS + bisect_left(BUCKETS_NS, duration_ns)] += 1
        if 100 <= status < 600:
            words[W_STATUS - 1 + status // 100] += 1

    def answered(self, slot: int, consumed: int, written: int) -> None:
        """Said before the last bytes of an answer are sent: with them, the totals will be these.

        A death between that send and `boundary` then costs the client nothing. Only for a request that has
        been read whole, with nothing read beyond it, on a connection that goes on.
        """
        words, base = self.words, W_SLOTS + SLOT * slot
        words[base + S_NEXT_CONSUMED] = consumed
        words[base + S_NEXT_WRITTEN] = written
        words[base + S_STATE] = ANSWERED

    def boundary(self, slot: int, consumed: int, written: int) -> None:
        """The connection is between messages: bytes read from and written to it in this loan so far.

        Called only when no byte that was read waits unserved (a pipelined head, say) and every byte of
        the answers is in the kernel: after a death the gateway lends the connection again if the kernel's
        counters still say `consumed`.
        """
        words, base = self.words, W_SLOTS + SLOT * slot
        words[base + S_CONSUMED] = consumed
        words[base + S_WRITTEN] = written
        words[base + S_STATE] = BOUNDARY

    def stream(self, step: int) -> None:
        """`step` +1 when a streaming response or WebSocket opens, -1 when it ends."""
        self.words[W_STREAMS] += step

    def cut(self) -> None:
        """A stream or WebSocket was ended because the drain deadline passed."""
        self.words[W_CUT] += 1

    def heartbeat(self, now_ns: int) -> None:
        self.words[W_HEARTBEAT] = now_ns

    def waiting_since(self, since_ns: int) -> None:
        """Start of the oldest request that has no first byte yet; 0 when there is none."""
        self.words[W_WAITING] = since_ns

    def log_drops(self, total: int) -> None:
        self.words[W_LOG_DROPS] = total


def private_page(nslots: int = 2) -> Page:
    """A page that no gateway reads, for requests a template sends to itself."""
    return Page(memoryview(bytearray(page_bytes(nslots))).cast("Q"))
