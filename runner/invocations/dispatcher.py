"""Running what is queued: one of each function in turn, again where it failed, until it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from snapfork.runner.invocations import records
from snapfork.runner.invocations.invoker import Resolver
from snapfork.runner.invocations.item import Item
from snapfork.runner.invocations.lanes import LOW, ROOM, Lane, Lanes
from snapfork.runner.invocations.model import FUNCTION_ERRORS, SYSTEM_ERRORS, Invocation, QueueState, Result
from snapfork.runner.invocations.queue import ENDED, Queue
from snapfork.runner.policy import chains, retries
from snapfork.runner.policy.retries import Decision, History, Rules
from snapfork.runner.registry.defaults import DEFAULTS
from snapfork.runner.registry.errors import Conflict, Disabled, NotFound, OperationError, Throttled, TooLarge
from snapfork.runner.registry.model import AsyncConfig, Dialect

BATCH = ROOM - LOW
SWEEP_S = 60.0
BEHIND = 20_000
"""Changes that wait for the writer before nothing new is begun."""
STATES: dict[str, QueueState] = {
    "succeeded": "Succeeded", "expired": "Expired", "failed": "Failed", "lost": "Invalid",
}  # fmt: skip
STOPPED = "AsyncInvocationStopped: the invocation was stopped"


class Operations(Resolver, Protocol):
    """What is needed of registry.operations."""

    def async_policy(self, name: str, qualifier: str = "") -> AsyncConfig: ...


class Runs(Protocol):
    """What is needed of the invoker."""

    async def invoke(self, invocation: Invocation, tail: bool = False) -> Result: ...


@dataclass(frozen=True)
class Place:
    """Region and account, as they stand in the ARNs of records."""

    region: str = "us-east-1"
    account: str = "000000000000"


class Dispatcher:
    """See the module. It is the queue's feed. delivered: called when a destination has something to get."""

    def __init__(
        self,
        queue: Queue,
        operations: Operations,
        invoker: Runs,
        clock: Callable[[], float] = time.time,
        place: Place | None = None,
        delivered: Callable[[], None] = lambda: None,
    ) -> None:
        self.queue = queue
        self.lanes = Lanes()
        self._operations = operations
        self._invoker = invoker
        self._clock = clock
        self._place = place or Place()
        self._delivered = delivered
        self._running: dict[int, asyncio.Task[None]] = {}
        self._taking: set[asyncio.Task[None]] = set()
        self._keeping: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._pumping = False
        self._closed = False

    async def start(self) -> None:
        """Take up what waits, and whatever is enqueued from now on."""
        self.queue.feed = self
        for function, due in await self.queue.functions():
            self.wake(function, due)
        self._keeping = asyncio.create_task(self._keep())

    async def close(self, grace: float = 0.0) -> None:
        """Begin nothing more; what still runs after `grace` seconds is left to the next start."""
        self._closed = True
        self.queue.feed = None
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._running.values(), *self._taking]
        if tasks and grace:
            await asyncio.wait(tasks, timeout=grace)
        tasks = [*self._running.values(), *self._taking, *([self._keeping] if self._keeping else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in self.lanes.by_name.values():
            for item in lane.ready:
                if item.state not in ENDED:
                    self.queue.release(item)
            lane.ready.clear()

    # -- the queue's feed --------------------------------------------------------------------------------

    def room(self, function: str) -> bool:
        lane = self.lanes.by_name.get(function)
        return lane is None or not (lane.backlog or lane.taking or len(lane.ready) >= ROOM)

    def put(self, item: Item) -> None:
        lane = self.lanes.lane(item.function)
        lane.ready.append(item)
        self.lanes.offer(lane)
        self._pump()

    def wake(self, function: str, due: float) -> None:
        lane = self.lanes.lane(function)
        if due <= self._clock():
            lane.backlog = True
            self._refill(lane)
        else:
            self._look_again(lane, due)

    def cancel(self, item: Item) -> None:
        task = self._running.get(item.id)
        if task is not None:
            task.cancel()

    def resume(self, function: str) -> None:
        """Whatever a function was held back for may be over."""
        lane = self.lanes.by_name.get(function)
        if lane is not None and lane.paused:
            lane.paused = 0.0
            self.lanes.offer(lane)
            self._pump()

    # -- time --------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look what has become due; called by itself, and by whoever moves the clock."""
        if self._closed:
            return
        now = self._clock()
        self._timer_at = 0.0
        upcoming: list[float] = []
        for lane in list(self.lanes.by_name.values()):
            if lane.wake is not None and lane.wake <= now:
                lane.wake = None
                lane.backlog = True
                self._refill(lane)
            if lane.paused > now:
                upcoming.append(lane.paused)
            else:
                self.lanes.offer(lane)
            if lane.wake is not None:
                upcoming.append(lane.wake)
        if upcoming:
            self._schedule(min(upcoming))
        self._pump()

    def _look_again(self, lane: Lane, due: float) -> None:
        if lane.wake is None or due < lane.wake:
            lane.wake = due
        self._schedule(due)

    def _schedule(self, at: float) -> None:
        if self._closed or (self._timer_at and self._timer_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        delay = max(0.0, at - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self.tick)

    async def _keep(self) -> None:
        """Leases and old rows, now and then."""
        every = self.queue.lease / 4
        swept = 0.0
        while True:
            await asyncio.sleep(every)
            try:
                await self.queue.renew()
                self.lanes.drop_empty()
                swept += every
                if swept >= SWEEP_S:
                    swept = 0.0
                    await self.queue.sweep()
            except Exception as error:  # a full disk passes; nobody would renew the leases without this task
                _complain(f"The queue cannot be written: {error}.")

    # -- fetching and beginning --------------------------------------------------------------------------

    def _refill(self, lane: Lane) -> None:
        if lane.wants_more and not self._closed:
            lane.taking = True
            task = asyncio.create_task(self._take(lane))
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)

    async def _take(self, lane: Lane) -> None:
        lane.backlog = False
        try:
            items, after = await self.queue.take(lane.function, BATCH)
        except Exception as error:
            _complain(f"The queue cannot be read: {error}.")
            self._look_again(lane, self._clock() + 1.0)
            return
        finally:
            lane.taking = False
        lane.ready.extend(items)
        if len(items) == BATCH:
            lane.backlog = True
        elif after is not None:
            self._look_again(lane, after)
        self.lanes.offer(lane)
        self._pump()
        self._refill(lane)

    def _pump(self) -> None:
        if self._pumping or self._closed:
            return
        if self.queue.commits.waiting > BEHIND:
            asyncio.get_running_loop().call_later(0.05, self._pump)
            return
        self._pumping = True
        now = self._clock()
        while (found := self.lanes.next_item(now)) is not None:
            lane, item = found
            if item.state in ENDED:  # stopped before its turn
                self.lanes.done(lane)
                continue
            task = asyncio.create_task(self._run(lane, item))
            self._running[item.id] = task
            self._refill(lane)
        self._pumping = False

    # -- one invocation ----------------------------------------------------------------------------------

    async def _run(self, lane: Lane, item: Item) -> None:
        pause = 0.0
        try:
            pause = await self._step(lane, item)
        except asyncio.CancelledError:
            if item.stopping:
                self.queue.end(item, "Stopped", error=STOPPED)
            else:
                self.queue.release(item)
                raise
        except Exception:  # of ours: the invocation is not lost, and the others go on
            _complain(f"Running {item.request_id} of {item.function} failed:\n{traceback.format_exc()}")
            item.system_errors += 1
            self.queue.again(item, self._clock() + retries.delivery_delay(item.system_errors))
        finally:
            self._running.pop(item.id, None)
            if pause:
                lane.paused = max(lane.paused, self._clock() + pause)
                self._schedule(lane.paused)
            self.lanes.done(lane)
            self._refill(lane)
            self._pump()

    async def _step(self, lane: Lane, item: Item) -> float:
        """One run and what follows; seconds for which the function should be left alone."""
        if item.state == "Stopping":  # by a process that was killed before it was stopped
            self.queue.end(item, "Stopped", error=STOPPED)
            return 0.0
        try:
            function = self._operations.resolve(item.function, item.qualifier).function
            config = self._operations.async_policy(item.function, item.qualifier)
        except NotFound as error:  # its destinations went with it
            self.queue.end(item, "Invalid", error=error.message, dead=True)
            return 0.0
        lane.window.cap = function.reserved or None
        rules = _rules(config, function.dialect)
        age = self._clock() - item.enqueued
        result: Result | None = None
        if item.payload is None:
            item.payload = await self.queue.payload(item)
        if retries.too_old(rules, age):
            expired = Decision("expired", condition="EventAgeExceeded")
            self._settle(item, expired, None, config, function.dialect)
            return 0.0
        if item.state in ENDED:  # stopped just before
            return 0.0
        invocation = item.invocation()
        if chains.is_loop(invocation.chain, item.function) and not self._allows_loops(item.function):
            self._settle(item, Decision("failed", condition=chains.CONDITION), None, config, function.dialect)
            return 0.0
        self.queue.begin(item)
        refused = False
        try:
            result = await self._invoker.invoke(replace(invocation, attempt=item.attempts))
        except (Throttled, Disabled, Conflict) as error:
            result = Result(_error_json(error), "throttled")
        except NotFound as error:  # deleted in this moment
            lost = Result(_error_json(error), "unhandled")
            self._settle(item, Decision("lost", condition="Invalid"), lost, config, function.dialect)
            return 0.0
        except OperationError as error:  # too large, or what cannot be: trying again would not help
            failed = Result(_error_json(error), "unhandled")
            condition = "PayloadTooLarge" if isinstance(error, TooLarge) else "Invalid"
            self._settle(item, Decision("failed", condition=condition), failed, config, function.dialect)
            return 0.0
        if result.error in SYSTEM_ERRORS:
            refused = True
            item.system_errors += 1
            history = History(item.errors, item.system_errors, self._clock() - item.enqueued)
            decision = retries.after_system_error(rules, history, random.random(), function.reserved)
        elif result.error in FUNCTION_ERRORS or result.error:
            item.system_errors = 0
            item.errors += 1
            history = History(item.errors, 0, self._clock() - item.enqueued)
            decision = retries.after_function_error(rules, history)
        else:
            decision = retries.after_success()
        self._settle(item, decision, result, config, function.dialect)
        if refused and function.reserved != 0:
            noted = lane.window.refused if result.error == "throttled" else lane.window.unavailable
            return noted(lane.in_flight - 1)
        lane.window.answered(bool(lane.ready or lane.backlog))
        return 0.0

    def _allows_loops(self, function: str) -> bool:
        latest = self._operations.resolve(function).version
        return latest.configuration.extra.get(chains.SETTING) == "Allow"

    def _settle(
        self, item: Item, decision: Decision, result: Result | None, config: AsyncConfig, dialect: Dialect
    ) -> None:
        """Write what was decided."""
        instance = result.instance if result is not None else ""
        if decision.verdict == "again":
            error = records.error_text(result, decision.condition)
            self.queue.again(item, self._clock() + decision.delay, error=error, instance=instance)
            return
        good = decision.verdict == "succeeded"
        wanted = (config.on_success,) if good else (config.on_failure, config.dead_letter)
        deliveries = []
        if any(wanted):
            arn = records.function_arn(
                dialect, self._place.region, self._place.account, item.function, item.qualifier
            )
            payload = item.payload or b""
            chain = item.invocation().chain
            if decision.condition != chains.CONDITION:
                chain = chains.longer(chain, item.function)
            ended = records.Ended(
                item, payload, decision.condition, result, dialect, arn, self._clock(), chain
            )
            deliveries = records.deliveries(ended, config)
        self.queue.end(
            item,
            STATES[decision.verdict],
            error="" if good else records.error_text(result, decision.condition),
            result=result.payload if result is not None else b"",
            instance=instance,
            deliveries=deliveries,
            dead=not good,
        )
        if deliveries:
            self._delivered()


def _rules(config: AsyncConfig, dialect: Dialect) -> Rules:
    default = DEFAULTS[dialect]
    return Rules(
        config.retries, config.retry_delays, config.max_age, default.system_first, default.system_most
    )


def _error_json(error: OperationError) -> bytes:
    return json.dumps({"errorMessage": error.message, "errorType": type(error).__name__}).encode()


def _complain(message: str) -> None:
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)
