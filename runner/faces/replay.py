"""Which signed requests were seen already: nobody may send a captured one again.

A request of ours, or of a client with a signed nonce (FC's SDK), has a signature of its own. Those of AWS
clients do not: boto3 signs host, date (whole seconds) and its x-amz-* options, so two equal calls within a
second have equal signatures, and so has a retry; what differs is the unsigned `amz-sdk-invocation-id` with
`amz-sdk-request: attempt=N`. Hence: a signature may come again only within `GRACE` seconds of its first use,
and then only with an id and attempt that it has not come with before. Without these headers, once.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field

GRACE = 5.0
"""Seconds: one in which equal calls are signed alike, the rest for a loaded machine."""


@dataclass(slots=True)
class _Second:
    """The signatures dated with one second. `first`: when each came first, `uses`: with which call marks;
    `old`: sorted, of those that may not come again at all."""

    touched: float = 0.0
    first: dict[int, float] = field(default_factory=dict)
    uses: set[int] = field(default_factory=set)
    old: array[int] = field(default_factory=lambda: array("Q"))

    def has_old(self, number: int) -> bool:
        at = bisect_left(self.old, number)
        return at < len(self.old) and self.old[at] == number

    def seal(self) -> None:
        """Keep eight bytes of each signature: at thousands a second for half an hour it matters."""
        self.old = array("Q", sorted({*self.old, *self.first}))
        self.first, self.uses = {}, set()


class Replays:
    """Signatures by the second that they are dated with; `window` seconds after it none is valid any more.

    since: a request dated before (the start of the process) is refused: it may have been seen by the process
    before this one, whose memory is gone.
    """

    def __init__(self, window: float = 900.0, since: float = 0.0) -> None:
        self._window = window
        self._since = float(int(since))
        self._seconds: dict[int, _Second] = {}
        self._live: set[int] = set()  # seconds with something in `first`
        self._tidied = 0.0

    def admit(self, signature: str, mark: str, dated: float, now: float, lifetime: float = 0.0) -> bool:
        """Note one use of a verified signature (hex); False when it must be refused.

        mark: what tells two uses of one signature apart, "" when nothing does. lifetime: how long after
        `dated` it stays valid, 0 for the window.
        """
        if dated < self._since:
            return False
        if now - self._tidied > 1.0:
            self._tidy(now)
        due = int(dated + max(lifetime - self._window, 0.0))  # filed under the second that it ends with
        second = self._seconds.get(due)
        if second is None:
            second = self._seconds[due] = _Second()
        number = int(signature[:16], 16)
        begun = second.first.get(number)
        if begun is None:
            if second.has_old(number):
                return False
            second.first[number] = now if mark else float("-inf")
            self._live.add(due)
        elif not mark or now - begun > GRACE:
            return False
        second.touched = now
        if mark:
            use = hash((number, mark))
            if use in second.uses:
                return False
            second.uses.add(use)
        return True

    def _tidy(self, now: float) -> None:
        self._tidied = now
        for due in [due for due in self._live if now - self._seconds[due].touched > GRACE]:
            self._seconds[due].seal()
            self._live.discard(due)
        gone = now - self._window - 1.0
        for due in [due for due in self._seconds if due < gone and due not in self._live]:
            del self._seconds[due]
