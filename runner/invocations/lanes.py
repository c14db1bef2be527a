"""Whose turn it is: the invocations that are in memory, a lane for each function, served in turn."""

from __future__ import annotations

from collections import deque

from snapfork.runner.invocations.item import Item
from snapfork.runner.policy.fairness import TOTAL, Window

ROOM = 256
"""Invocations of a function that are in memory without running; the rest waits on the disk."""
LOW = 64
"""Below this many, the next are fetched from the disk."""


class Lane:
    """One function's. backlog: more may be due on the disk; wake: when, at the latest, it has to be looked at
    again; paused: until then none is begun."""

    __slots__ = (
        *("backlog", "function", "in_flight", "listed", "paused", "ready", "taking", "waits_for_room"),
        *("wake", "window"),
    )

    def __init__(self, function: str) -> None:
        self.function = function
        self.ready: deque[Item] = deque()
        self.backlog = False
        self.taking = False
        self.wake: float | None = None
        self.paused = 0.0
        self.in_flight = 0
        self.window = Window()
        self.listed = False
        self.waits_for_room = False

    @property
    def wants_more(self) -> bool:
        """True when the next should be fetched from the disk."""
        return self.backlog and not self.taking and len(self.ready) <= LOW

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to remember."""
        return not (self.ready or self.backlog or self.taking or self.in_flight) and self.wake is None


class Lanes:
    """All lanes. `next_item` gives one invocation of each function in turn that may be begun now."""

    def __init__(self) -> None:
        self.by_name: dict[str, Lane] = {}
        self.in_flight = 0
        self._turn: deque[Lane] = deque()
        self._short: deque[Lane] = deque()

    def lane(self, function: str) -> Lane:
        """The lane of a function, made when it is not there."""
        lane = self.by_name.get(function)
        if lane is None:
            lane = self.by_name[function] = Lane(function)
        return lane

    def offer(self, lane: Lane) -> None:
        """There may be something to begin in this lane."""
        if lane.ready and not lane.listed and not lane.waits_for_room:
            lane.listed = True
            self._turn.append(lane)

    def next_item(self, now: float) -> tuple[Lane, Item] | None:
        """The next to begin, None when nobody may; it counts as in flight."""
        while self._turn:
            lane = self._turn.popleft()
            lane.listed = False
            if not lane.ready or lane.paused > now:
                continue
            room = TOTAL - self.in_flight
            if lane.in_flight >= lane.window.allowance(len(self._turn), room):
                if room <= 0:
                    lane.waits_for_room = True
                    self._short.append(lane)
                continue
            item = lane.ready.popleft()
            lane.in_flight += 1
            self.in_flight += 1
            self.offer(lane)
            return lane, item
        return None

    def done(self, lane: Lane) -> None:
        """One that was begun has ended: its place is for whoever has waited longest for one."""
        lane.in_flight -= 1
        self.in_flight -= 1
        if self._short:
            other = self._short.popleft()
            other.waits_for_room = False
            self.offer(other)
        self.offer(lane)

    def drop_empty(self) -> None:
        """Forget functions that have had nothing for a while."""
        for name in [name for name, lane in self.by_name.items() if lane.is_empty]:
            del self.by_name[name]
