"""The queue against a model: at least once, no lost invocation, none that comes back after its end."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from invoking import Clock, invocation
from snapfork.runner.invocations.item import Item
from snapfork.runner.invocations.queue import ENDED, Queue

FUNCTIONS = ("f", "g")


class QueueMachine(RuleBasedStateMachine):
    """`due` has, of each acknowledged invocation that has not ended, from when it may be taken; `held` those
    that somebody has, `dead` the dead letters."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="queue-"))
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.queue = Queue(self.directory / "queue.sqlite3", self.clock)
        self.runner.run(self.queue.start())
        self.due: dict[str, float] = {}
        self.functions: dict[str, str] = {}
        self.held: dict[str, Item] = {}
        self.ended: dict[str, str] = {}
        self.dead: set[str] = set()

    def teardown(self) -> None:
        try:
            self._nothing_is_lost()
        finally:
            self.runner.run(self.queue.close())
            self.runner.close()
            shutil.rmtree(self.directory)

    @rule(
        number=st.integers(0, 30),
        function=st.sampled_from(FUNCTIONS),
        delay=st.sampled_from([0.0, 0.0, 5.0, 500.0]),
        task=st.booleans(),
    )
    def enqueue(self, number: int, function: str, delay: float, task: bool) -> None:
        one = invocation(f"{function}{number}", function)
        known = one.id in self.functions
        answer = self.runner.run(self.queue.enqueue(one, delay, one.id if task else ""))
        assert answer.request_id == one.id
        if not known:
            self.functions[one.id] = function
            self.due[one.id] = self.clock.now + delay
        elif one.id in self.ended:
            assert answer.state == self.ended[one.id]

    @rule(function=st.sampled_from(FUNCTIONS), limit=st.integers(1, 10))
    def take(self, function: str, limit: int) -> None:
        items, _ = self.runner.run(self.queue.take(function, limit))
        waiting = [
            one for one, due in self.due.items()
            if due <= self.clock.now and self.functions[one] == function and one not in self.held
        ]  # fmt: skip
        assert len(items) == min(limit, len(waiting))
        for item in items:
            assert item.request_id in waiting
            self.held[item.request_id] = item

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["end", "fail", "again", "release", "begin", "stop"]))
    def step(self, data: st.DataObject, how: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        item = self.held[name]
        if how == "begin":
            self.queue.begin(item)
            return
        if how == "stop":
            task = self.runner.run(self.queue.stop(item.function, name))
            if task.state != "Stopped":
                self.queue.end(item, "Stopped")
            self._end(name, "Stopped")
        elif how in ("end", "fail"):
            state = "Succeeded" if how == "end" else "Failed"
            self.queue.end(item, "Succeeded" if how == "end" else "Failed", dead=how == "fail")
            self._end(name, state)
            if how == "fail":
                self.dead.add(name)
        else:
            later = self.clock.now + (30.0 if how == "again" else 0.0)
            if how == "again":
                self.queue.again(item, later)
            else:
                self.queue.release(item)
            self.due[name] = later
        del self.held[name]

    def _end(self, name: str, state: str) -> None:
        del self.due[name]
        self.ended[name] = state

    @precondition(lambda self: self.dead)
    @rule(data=st.data())
    def redrive(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.dead)))
        (task,) = self.runner.run(self.queue.redrive([name]))
        assert task.request_id == name
        self.dead.remove(name)
        del self.ended[name]
        self.due[name] = self.clock.now

    @rule(seconds=st.sampled_from([1.0, 20.0, 50.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        """Whoever holds something keeps it, as long as he prolongs it in time."""
        self.runner.run(self.queue.renew())
        self.clock.now += min(seconds, self.queue.lease * 0.6)
        self.runner.run(self.queue.renew())

    @precondition(lambda self: self.held)
    @rule()
    def holders_vanish(self) -> None:
        """Nobody prolongs what is held: it is due again when the lease ends."""
        until = max(item.due for item in self.held.values())
        self.queue._taken.clear()
        for name, item in self.held.items():
            self.due[name] = item.due
        self.held.clear()
        self.clock.now = until

    @rule()
    def restart(self) -> None:
        """What was held is due at once."""
        self.runner.run(self.queue.close())
        self.queue = Queue(self.directory / "queue.sqlite3", self.clock)
        self.runner.run(self.queue.start())
        for name in self.held:
            self.due[name] = self.clock.now
        self.held.clear()

    def _nothing_is_lost(self) -> None:
        for name, function in self.functions.items():
            state = self.runner.run(self.queue.get(function, name)).state
            assert (state in ENDED) == (name in self.ended), (name, state)
        letters, _ = self.runner.run(self.queue.dead_letters(limit=1000))
        assert {one.request_id for one in letters} == self.dead
        self.restart()
        self.clock.now += 1e6
        found = [
            item.request_id for function in FUNCTIONS
            for item in self.runner.run(self.queue.take(function, 1000))[0]
        ]  # fmt: skip
        assert sorted(found) == sorted(self.due)


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestQueue = QueueMachine.TestCase
