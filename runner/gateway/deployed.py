"""One deployed unit: built when it is called for, changed without losing a request, retired when it rests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from snapfork.adapter import settings
from snapfork.runner.gateway.desk import Refused
from snapfork.runner.gateway.function import Function
from snapfork.runner.gateway.instances import READY, STARTING
from snapfork.runner.gateway.kits import has_room
from snapfork.runner.gateway.stock import Bases
from snapfork.runner.gateway.templates import Template
from snapfork.runner.policy.elastic import backoff_s
from snapfork.runner.serve_config import FunctionConfig
from snapfork.runner.units import Unit
from snapfork.runner.wire.frames import SPAWN

if TYPE_CHECKING:
    from snapfork.runner.gateway.bases import OnFrame
    from snapfork.runner.gateway.core import Core, Door

START_ALLOWANCE_S = 120.0
"""How long a template may take to come up, its initializer's limit on top; so long requests wait for it."""
TRIAL_AFTER_S = 0.25
"""The trial start of a new template comes after the first answers, not beside them."""
INITIALISING = ("import", "initialise", "lifespan", "restore")
START_FAILED = "start_failed"
AT_REST_NS = 2 * 10**9
"""Who has had no request for so long holds nothing ready for the next start."""
BUILD_DESCRIPTORS = 16
"""A template, its pipe, a base if need be, and the first instance."""
ROOM_AGAIN_S = 0.1


class Deployed:
    """A unit's wanted state, its function, and who waits for it.

    `tell` sends an event to the services process. `on_scarce` is asked to let go of descriptors when there
    are too few for a template; it is built once there are enough. used_ns: when it last had a request. size:
    bytes that its template had of its own when it was ready: what it shares with its base is not counted.
    """

    def __init__(
        self,
        core: Core,
        door: Door,
        unit: Unit,
        bases: Bases,
        on_frame: OnFrame,
        tell: Callable[[dict[str, Any]], object],
        on_built: Callable[[Deployed], None],
        on_scarce: Callable[[], None] = lambda: None,
    ) -> None:
        self.core = core
        self.unit = unit
        self.wanted = FunctionConfig.of_unit(unit)
        route = [{"host": None, "prefix": "", "function": unit.name}]
        self.function = Function(core, door, self.wanted, route, self, bases, on_frame)
        self.function.trial_after = TRIAL_AFTER_S
        self.pool = self.function.pool
        self.pool.on_need = self.need
        self.pool.patient = True
        self.pool.minimum = unit.minimum
        self.used_ns = 0
        self.size = 0
        self.dropped = False
        self._tell = tell
        self._on_built = on_built
        self._on_scarce = on_scarce
        self._postponed: FunctionConfig | None = None
        self._waiting: list[asyncio.Future[dict[str, Any]]] = []
        self._before: FunctionConfig | None = None  # what was wanted when nothing had ever been built
        self._failed = ""  # the revision that last did not come up
        self._attempted = ""  # the last revision that was wanted and built
        self._failure: tuple[str, str | None] = ("", None)
        self._failures = 0
        self._hold_until_ns = 0
        self._requests = 0
        self._presume()

    def _presume(self) -> None:
        """Settings that hold until the template says what the app itself asks for."""
        resolved = settings.resolve({}, self.unit.overrides)
        resolved["concurrency"] = resolved["concurrency"] or 1
        initializer = (self.unit.initializer or {}).get("timeout") or 0
        farewell = int(((self.unit.pre_stop or {}).get("timeout") or 0) * 1e9)
        # Instances of the revision before may have longer.
        self.pool.farewell_ns = max(farewell, self.pool.farewell_ns if self.pool.instances else 0)
        self.pool.allowance_ns = int((START_ALLOWANCE_S + initializer) * 1e9)
        if not self.is_up:
            self.pool.configure(resolved, "", resolved["max_instances"] or 1, rides=True)

    # -- state -----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.unit.name

    @property
    def is_up(self) -> bool:
        """Whether requests need not wait for a template."""
        return self.pool.starter is not None

    @property
    def state(self) -> str:
        """cold, building, ready or failed; ready goes before what is being built beside it."""
        if self.is_up:
            return "ready"
        if self.function.building is not None or self._postponed is not None:
            return "building"
        return "failed" if self._failed else "cold"

    @property
    def _known_good(self) -> FunctionConfig | None:
        """The older revision that is gone back to: it has come up, or was served before this gateway was."""
        has_been_up = self.pool.generation != 0 and self.function.config is not self.wanted
        return self.function.config if has_been_up else self._before

    @property
    def is_held(self) -> bool:
        """Whether it must not be let go of now. Connections that only wait are no reason: they come back."""
        pool = self.pool
        busy = bool(pool.queue) or any(one.running for one in pool.instances.values())
        return busy or pool.minimum > 0 or self.function.building is not None

    @property
    def descriptors(self) -> int:
        """How many the gateway has open for it: a template's are its control socket, pidfd and log pipe."""
        return 3 * (self.function.template is not None) + self.pool.descriptors

    def status(self) -> dict[str, Any]:
        """For the operation unit_status."""
        pool, template = self.pool, self.function.template
        ready = sum(1 for one in pool.instances.values() if one.state == READY)
        return {
            "state": self.state,
            "revision": self.unit.revision,
            "building": self.function.building is not None or self._postponed is not None,
            "serving": _revision(self.function.config) if pool.generation else "",
            "interface": pool.interface,
            "mode": "spawn" if pool.mode == SPAWN else "fork",
            "instances": [
                {
                    "number": one.number,
                    "pid": one.pid,
                    "state": _shown(one),
                    "started": self.core.wall(one.born_ns),
                    "requests": one.requests,
                }
                for one in pool.instances.values()
            ],
            "minimum": pool.minimum,
            "ready": min(ready, pool.minimum),
            "error": self._failure[0] if self._failed == self.unit.revision else "",
            "stages": _stages(template) if template is not None else {},
            "template_bytes": self.size if self.is_up else 0,
            "restored": bool(self.function.found),
        }

    # -- orders ----------------------------------------------------------------------------------------

    def put(self, unit: Unit) -> None:
        """Serve another revision as soon as it is ready, or (the same one) with another minimum."""
        old, self.unit = self.unit, unit
        self.provide(unit.minimum)
        if unit.revision == old.revision:
            return
        self.wanted = FunctionConfig.of_unit(unit)
        self._failures = 0
        self._hold_until_ns = 0
        self._presume()
        building = self.function.building
        if building is not None and building.generation == self.pool.generation:
            return  # it serves already, and is what is gone back to should the new one fail
        if self._goes_back(unit):
            return
        if self.is_up or self.function.building is not None or self.pool.queue or self.pool.minimum:
            self._build(self.wanted)
        elif not self.pool.generation:
            if self._failed != old.revision:
                self._before = self.function.config
            self.function.config = self.wanted

    def _goes_back(self, unit: Unit) -> bool:
        """Whether it was told of what it serves anyway, after a revision that did not come up."""
        if not self.pool.generation or _revision(self.function.config) != unit.revision:
            return False
        self.wanted = self.function.config
        self._attempted = unit.revision
        if self.function.building is not None:
            return False
        if not self.is_up and (self.pool.queue or self.pool.minimum):
            self.need()
        return True

    def provide(self, minimum: int) -> None:
        """Keep `minimum` instances ready."""
        self.pool.minimum = minimum
        if minimum and not self.is_up:
            self.need()
        elif self.is_up:
            self.pool.top_up()

    def wait(self, timeout: float) -> asyncio.Future[dict[str, Any]]:
        """What it is, once the wanted revision is up. Raises Refused, or has the future raise it."""
        future: asyncio.Future[dict[str, Any]] = self.core.loop.create_future()
        if self._is_current():
            future.set_result(self._about(self.function.template or self.function.building))
        elif self._is_on_hold():
            raise self._refusal()
        else:
            self._waiting.append(future)
            if self.function.building is None:
                self._build(self.wanted)
            self.core.loop.call_later(timeout, self._wait_over, future, timeout)
        return future

    def _wait_over(self, future: asyncio.Future[dict[str, Any]], timeout: float) -> None:
        if future in self._waiting:
            self._waiting.remove(future)
            future.set_exception(Refused(f"{self.name} was not up after {timeout:g} s", kind="timeout"))

    def need(self) -> None:
        """Somebody waits for it: see that there is a template soon."""
        if self.dropped:
            self.pool.fail_all(503, f"{self.name} is not served any more", "")
        elif self.is_up or self.function.building is not None or self.core.stopping:
            return
        elif self._failed == self.unit.revision and (good := self._known_good) is not None:
            self._build(good)
        elif self.core.clock() < self._hold_until_ns:
            self._fail_requests()
        else:
            self._build(self.wanted)

    def retire(self) -> None:
        """Let go of template and instances until somebody calls."""
        if self.state in ("ready", "building"):
            self.function.rest()
            self._event("retired", self.unit.revision)
            if self.pool.queue:
                self.need()

    def drop(self) -> None:
        """It is to go: requests that it has are finished, no other comes."""
        self.dropped = True
        self.pool.minimum = 0
        self.pool.recall()
        for future in self._waiting:
            future.set_exception(Refused(f"{self.name} is not served any more"))
        self._waiting.clear()

    def is_gone(self) -> bool:
        """One step of leaving; True when nothing is left of it."""
        if self.pool.queue and not self.is_up and self.function.building is None:
            self.need()
        if not self.pool.queue and not self.function.resting:
            self.function.rest()
        if self.pool.instances or self.pool.queue:
            return False
        self.pool.close()
        return True

    # -- what its function tells -----------------------------------------------------------------------

    def function_early(self, function: Function, template: Template) -> None:
        """It can be called, though it is not warmed up yet."""
        self.used_ns = self.core.clock()
        if _revision(template.config) == self.unit.revision:
            self._tell_waiting(template)

    def _tell_waiting(self, template: Template) -> None:
        for future in self._waiting:
            future.set_result(self._about(template))
        self._waiting.clear()

    def function_built(self, function: Function, template: Template) -> None:
        """A template is ready."""
        revision = _revision(template.config)
        self.used_ns = self.core.clock()
        function.is_up = True
        if revision == self.unit.revision:
            self._failed = ""
            self._failures = 0
        self._before = None
        self.size = _size(template)
        self._event(
            "ready",
            revision,
            interface=self.pool.interface,
            mode=template.report["mode"],
            stages=_stages(template),
        )
        if self._is_current():
            self._tell_waiting(template)
        self._on_built(self)
        if self._attempted != self.unit.revision:
            self._build(self.wanted)  # which came while this one was in the making
        if self.pool.minimum:
            self.pool.top_up()

    def function_up(self, function: Function) -> None:
        """Its trial start is over."""

    def function_failed(
        self, function: Function, template: Template, sentence: str, traceback: str | None
    ) -> None:
        """A template did not come up: an older revision goes on serving, or comes back for those who wait."""
        revision = _revision(template.config)
        self._failures += 1
        self._hold_until_ns = self.core.clock() + int(backoff_s(self._failures) * 1e9)
        self._failed = revision
        if self._before is not None and _revision(self._before) == revision:
            self._before = None
        self._failure = (sentence, traceback)
        self._event("failed", revision, sentence=sentence, traceback=traceback, stages=_stages(template))
        if revision == self.unit.revision:
            for future in self._waiting:
                future.set_exception(self._refusal())
            self._waiting.clear()
        if self.is_up:
            return
        if self._attempted != self.unit.revision:
            self._build(self.wanted)
        elif revision == self.unit.revision and (good := self._known_good) is not None and self.pool.queue:
            self._build(good)
        else:
            self._fail_requests()

    # -- by the clock ----------------------------------------------------------------------------------

    def look(self, now: int) -> None:
        """Once a second: note whether it is used, end a build that takes too long, try one that is due."""
        requests = sum(one.requests for one in self.pool.instances.values()) + self.pool.tally.gone.requests
        if requests != self._requests or self.pool.queue:
            self._requests = requests
            self.used_ns = now
        elif now - self.used_ns > AT_REST_NS:
            self.pool.spare_descriptors()
        if self.function.template is not None:
            self.size = _size(self.function.template)
        building = self.function.building
        if self.pool.minimum and not self._is_on_hold():
            self.need()
        if building is not None and now - building.begun_ns > self.pool.allowance_ns:
            limit = self.pool.allowance_ns / 1e9
            building.end()
            self.function.template_failed(building, f"it had not started after {limit:g} s", None)

    # -- details ---------------------------------------------------------------------------------------

    def _build(self, config: FunctionConfig) -> None:
        if self._postponed is not None:
            self._postponed = config
            return
        if config is self.wanted:
            self._attempted = self.unit.revision
        self._event("building", _revision(config))
        self._begin(config)

    def _begin(self, config: FunctionConfig) -> None:
        if not has_room(BUILD_DESCRIPTORS):
            if self._postponed is None:
                self.core.loop.call_later(ROOM_AGAIN_S, self._begin_again)
            self._postponed = config
            self._on_scarce()
            return
        good = config is self.function.config and self.pool.generation
        self.function.build(generation=self.pool.generation if good else None, config=config)

    def _begin_again(self) -> None:
        config, self._postponed = self._postponed, None
        wanted = self._waiting or self.pool.queue or self.pool.minimum
        if config is not None and wanted and not self.core.stopping and self.function.building is None:
            self._build(config)

    def _is_current(self) -> bool:
        return self.is_up and _revision(self.function.config) == self.unit.revision

    def _is_on_hold(self) -> bool:
        return self._failed == self.unit.revision and self.core.clock() < self._hold_until_ns

    def _refusal(self) -> Refused:
        sentence, traceback = self._failure
        return Refused(sentence, kind=START_FAILED, traceback=traceback)

    def _fail_requests(self) -> None:
        """Who calls by HTTP may be anybody, and the app's own words may quote a secret."""
        self.pool.fail_all(502, f"{self.name} does not start", START_FAILED, self._failure[0])

    def _about(self, template: Template | None) -> dict[str, Any]:
        stages = _stages(template) if template is not None else {}
        return {
            "interface": self.pool.interface,
            "mode": "spawn" if self.pool.mode == SPAWN else "fork",
            "init_ms": round(sum(stages.get(name, 0.0) for name in INITIALISING), 3),
            "restored": bool(self.function.found),
        }

    def _event(self, state: str, revision: str, **more: Any) -> None:
        common: dict[str, Any] = {
            "interface": self.pool.interface,
            "sentence": "",
            "traceback": None,
            "stages": {},
        }
        about = {"event": "unit", "name": self.name, "revision": revision, "state": state}
        self._tell(about | common | more)


def _revision(config: FunctionConfig) -> str:
    return config.unit.revision if config.unit is not None else ""


def _size(template: Template) -> int:
    return int(template.report.get("private", 0)) or int(template.report.get("rss", 0))


def _stages(template: Template) -> dict[str, float]:
    return {one["name"]: one["ms"] for one in template.stages}


def _shown(one: Any) -> str:
    if one.state == STARTING:
        return "starting"
    if one.state != READY:
        return "leaving"
    return "busy" if one.running else "spare" if one.fresh else "idle"
