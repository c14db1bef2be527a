"""One function behind the gateway: builds its templates, swaps them, and keeps a pool supplied."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from snapfork.runner.console import ms_text
from snapfork.runner.gateway.bases import Base
from snapfork.runner.gateway.checking import Checking
from snapfork.runner.gateway.core import Core, Door
from snapfork.runner.gateway.instances import Instance
from snapfork.runner.gateway.keeping import Keeping, Kept
from snapfork.runner.gateway.pipes import output_pipe
from snapfork.runner.gateway.pool import Pool
from snapfork.runner.gateway.stock import Bases
from snapfork.runner.gateway.templates import Template
from snapfork.runner.gateway.trial import Trial
from snapfork.runner.gateway.unit_order import has_records, unit_order
from snapfork.runner.kept.store import config_home
from snapfork.runner.policy.elastic import backoff_s
from snapfork.runner.processes.target import is_snapshot
from snapfork.runner.serve_config import FunctionConfig
from snapfork.runner.wire.frames import FORK, SPAWN

SLOW_IMPORT_S = 20.0
EARLY_S = 0.03
"""How long a template that can be called, and is not warmed up, waits for a first request."""
KEEP_FROM_MS = 150.0
"""Deployed functions that initialise in less are not kept: to find a snapshot takes a good part of that."""
KEEP_AFTER_S = 0.5
"""How long a new template is left alone before it is captured: it has requests to fork for."""
TRIAL_AGAIN_S = 1.0
"""A trial start without descriptors for it is tried again."""
STABLE_NS = 60 * 10**9
"""A template that has lived this long starts its back-off anew."""


class Listener(Protocol):
    """Who is told how a function fares: what waited is served; a template is ready; the first requests of new
    code may come; the template that was being built does not come up."""

    def function_early(self, function: Function, template: Template) -> None: ...
    def function_built(self, function: Function, template: Template) -> None: ...
    def function_up(self, function: Function) -> None: ...
    def function_failed(
        self, function: Function, template: Template, sentence: str, traceback: str | None
    ) -> None: ...


class Function:
    """Template side of one function; `pool` is the instance side.

    config: what its present template was made from (or its first is to be). trial_after: seconds from a ready
    template to its trial start, which may take a core. last_error: of the latest build or start.
    """

    def __init__(
        self,
        core: Core,
        door: Door,
        config: FunctionConfig,
        routes: list[dict[str, Any]],
        listener: Listener,
        bases: Bases,
        on_frame: Callable[[memoryview, list[int]], None],
    ) -> None:
        self.core = core
        self.config = config
        self.name = config.name
        self.user = (
            core.config.user if config.unit is not None and config.unit.environment is not None else None
        )
        sticky = len(routes) == 1 and not routes[0]["prefix"]
        self.pool = Pool(core, door, config.name, sticky=sticky, user=self.user)
        self.pool.on_report = self._instance_report
        self._listener = listener
        self._bases = bases
        self._on_frame = on_frame
        self._routes = routes
        self.template: Template | None = None
        self.building: Template | None = None
        self.version = 0
        self.base: Base | None = None
        self.last_error: str | None = None
        self.trial = Trial(core, self.pool, self._trial_over)
        self._announce = False
        self.is_up = False
        self._skip: list[int] = []
        self._order: dict[str, Any] = {}
        self._crashes = 0
        self._ready_ns = 0
        self.found: dict[str, Any] | None = None
        self.kept: Kept | None = None
        self._keeping: Keeping | None = None
        self._asked_ns = 0
        self.ready_ms = 0.0
        self.trial_after = 0.0
        self.resting = False
        self._shadowed: FunctionConfig | None = None
        self._early = 0

    # -- building ------------------------------------------------------------------------------------

    def build(
        self,
        generation: int | None = None,
        found: dict[str, Any] | None = None,
        mistrusted: str = "",
        config: FunctionConfig | None = None,
    ) -> None:
        """Start a template: of new code, or (`generation` given) once more of the same.

        It is restored from the snapshot `found`, or looks for one itself, `mistrusted` excepted. `config`, if
        given, is the function's once it is up.
        """
        config = config or self.config
        self.resting = False
        if self.building is not None:
            overtaken, self.building = self.building, None
            overtaken.kill()
        if self._keeping is not None:
            self._keeping.cancel()
        core = self.core
        self.found = found
        if found is None:
            self._asked_ns = core.clock()
        if generation is None:
            generation = next(core.numbers)
            self._skip = []
            self._crashes = 0  # new code is not to blame for the old
        self.base = self._base_for(config, found)
        number = next(core.numbers)
        template = Template(core.loop, number, generation, config, self, self._on_frame)
        core.templates[number] = template
        self.building = template
        self._order = self._make_order(config, generation)
        self._order |= {"forget": mistrusted, "asked_ns": self._asked_ns}
        if found:
            self._order |= {"restore": found["path"], "keep": False, "spans": found.get("spans", [])}
        log_read, log_write = output_pipe(self.user)
        self.base.load(number, self._order, template.theirs.fileno(), log_write)
        os.close(log_write)
        template.theirs.close()
        core.attach_log(log_read, self.name, "template", 0)
        version = self.version + (generation != self.pool.generation)
        if found is None:
            by_hand = "" if core.config.keeps_snapshots else ", from code (--no-snapshot)"
            core.console.building(self.name, version, config.interpreter, by_hand)
        core.loop.call_later(SLOW_IMPORT_S, self._check_import, template)

    def _check_import(self, template: Template) -> None:
        # Not ended: large models do take minutes, and only people can tell those from a server that blocks.
        if template is self.building and not template.stages:
            self.core.console.warn(
                f"{self.name}: its import has not ended after {SLOW_IMPORT_S:g} s; if it never does, look "
                "for a call at module level that blocks, such as app.run() or uvicorn.run()."
            )

    def _base_for(self, config: FunctionConfig, found: dict[str, Any] | None) -> Base:
        if self._has_frameworks(config):
            return self._bases.with_frameworks(config)
        if found:
            return self._bases.stocked(config, found["modules"])
        return self._bases.plain(config)

    def _has_frameworks(self, config: FunctionConfig) -> bool:
        """Whether its template begins with the runner's own packages imported."""
        deployed = config.unit is not None and config.unit.environment is not None
        return deployed and self._bases.is_own(config) and config is not self._shadowed

    def _make_order(self, config: FunctionConfig, generation: int) -> dict[str, Any]:
        serve = self.core.config
        order = {
            "function": config.name,
            "target": config.target,
            "app_dir": config.app_dir,
            "overrides": config.overrides,
            "routes": self._routes,
            "skip_warmup": self._skip,
            "generation": generation,
            "trusted_proxies": serve.trusted_proxies,
            "access_log": serve.access_log,
            "boot_id": self.core.boot_id,
            # A second build may follow an edit so closely that bytecode of the version before looks current.
            "write_bytecode": not serve.reload and self.version == 0,
            "keep": serve.keeps_snapshots and not is_snapshot(config.target),
            "elsewhere": True,
            "data_dir": serve.data_dir,
            "config_home": config_home(),
        }
        if config.unit is not None:
            order |= unit_order(config.unit, self.user, stocked=self._has_frameworks(config))
            order["look"] = has_records(order)
            order["early"] = self.pool.starter is None and config is self.config
            order["asked_ns"] = self._asked_ns
        return order

    def template_stage(self, template: Template, stage: dict[str, Any]) -> None:
        if template is not self.building:
            return
        self.core.console.stage(self.name, stage["name"], stage["ms"], stage.get("detail", ""))
        if stage["name"] == "restore" and self.found:
            ms = (self.core.clock() - self._asked_ns) / 1e6
            self.core.console.restored(self.name, self.found["created"], ms, self.found["init_ms"])

    def template_early(self, template: Template, report: dict[str, Any]) -> None:
        """The app can be called: what waits is served now, before the template is warmed up and frozen."""
        if template is not self.building:
            return
        rides = not report["user_code_at_start"]
        self.pool.configure(report["settings"], report["interface"], self._asked_maximum(report), rides)
        self._early = template.generation if template.generation != self.pool.generation else 0
        waited = bool(self.pool.queue)
        self.pool.switch(template.generation, template, FORK)
        self._listener.function_early(self, template)
        if waited:
            self._go_on(template)
        else:  # whoever was told now may ask at once
            self.core.loop.call_later(EARLY_S, self._go_on, template)

    def _go_on(self, template: Template) -> None:
        if self.pool.starter is template and template is self.building:
            self.pool.starter = None  # until it is ready: it forks nothing in between
        template.go_on()

    def template_ready(self, template: Template, report: dict[str, Any]) -> None:
        if template is not self.building:
            template.kill()
            return
        self.building = None
        old, self.template = self.template, template
        self.config = template.config
        self.last_error = None
        self._ready_ns = self.core.clock()
        self.ready_ms = (self._ready_ns - self._asked_ns) / 1e6
        mode = SPAWN if report["mode"] == "spawn" else FORK
        if report["findings"]:
            self.core.console.findings(self.name, report["mode"], report["findings"])
        is_new = self._early == template.generation or template.generation != self.pool.generation
        self._early = 0
        if is_new:
            self.version += 1
        self.pool.configure(
            report["settings"],
            report["interface"],
            self._asked_maximum(report),
            rides=mode == FORK and not report["user_code_at_start"],
        )
        if mode == SPAWN:
            if self.base is None:
                raise AssertionError("a template has a base")
            self.base.prepare_spawn(template.generation, self._order, report["interface"])
            template.retire()
            self.pool.switch(template.generation, self.base, SPAWN)
        else:
            self.pool.switch(template.generation, template, FORK)
        if old is not None and old.alive and old is not template:
            old.retire()
        self._announce = is_new or self._announce
        self._listener.function_built(self, template)
        if self.trial_after:
            self.core.loop.call_later(self.trial_after, self._start_trial, template)
        else:
            self._start_trial(template)

    def _asked_maximum(self, report: dict[str, Any]) -> int:
        asked = report["settings"]["max_instances"]
        if asked:
            return int(asked)
        return self.core.cores * (1 if report["interface"] == "asgi" else 4)

    def template_failed(self, template: Template, sentence: str, traceback: str | None) -> None:
        if template is not self.building:
            return
        self.building = None
        if self.found and not is_snapshot(self.config.target):
            self.core.console.warn(
                f"{self.name}: {sentence.rstrip('.')}; initialising from code, and the snapshot is forgotten."
            )
            self.build(template.generation, mistrusted=self.found["path"], config=template.config)
            return
        self.last_error = sentence
        self.core.console.failed(self.name, sentence, traceback)
        if self.pool.generation == template.generation and self.is_up and self.config.unit is None:
            self._rebuild_later(template.generation)
        else:
            self._listener.function_failed(self, template, sentence, traceback)

    def template_dirtied(self, template: Template, skip_warmup: list[int]) -> None:
        if template is self.building:
            self.building = None
            self._skip = sorted({*self._skip, *skip_warmup})
            self.core.console.info(
                f"{self.name}: a warm-up request left what cannot be forked; building again without it."
            )
            self.build(template.generation, self.found, config=template.config)

    def template_restoring(self, template: Template, found: dict[str, Any]) -> None:
        """It goes on from that snapshot, which it has found itself."""
        if template is self.building:
            self.found = found

    def template_shadowed(self, template: Template, names: list[str]) -> None:
        """Its package brings what the base has imported: it gets a base without."""
        if template is self.building:
            self.building = None
            self._shadowed = template.config
            self.core.console.info(f"{self.name}: its own {', '.join(names)} is used, not the runner's.")
            self.build(template.generation, config=template.config)

    def template_found(self, template: Template, found: dict[str, Any]) -> None:
        if template is not self.building:
            return
        self.building = None
        console = self.core.console
        if "check_ms" in found:
            console.info(f"{self.name}: {self.config.target} checked whole in {ms_text(found['check_ms'])}.")
        if "unstored" in found:
            console.warn(f"{self.name}: {found['unstored']}; {self.config.target} is used where it is.")
        self.build(template.generation, found, config=template.config)

    def template_died(self, template: Template) -> None:
        if template is not self.template or self.core.stopping:
            return
        self.last_error = "the template died"
        self.core.console.warn(f"{self.name}: the template (pid {template.pid}) died; building it again.")
        self._rebuild_later(template.generation)

    def template_gone(self, template: Template) -> None:
        self.core.templates.pop(template.number, None)
        self.pool.starter_died(template)

    def base_died(self, base: Base) -> None:
        """The base of this function is gone: what it spawned lives on, further starts need a new one."""
        self.pool.starter_died(base)
        if base is self.base and not self.core.stopping:
            self.base = None
            if self.pool.mode == SPAWN and self.is_up:
                self._rebuild_later(self.pool.generation)
            elif (
                self.building is not None and not base.unusable and self._has_frameworks(self.building.config)
            ):
                # What was imported ahead has ended it; the function itself may do without.
                config, generation = self.building.config, self.building.generation
                self.building, self._shadowed = None, config
                self.build(generation, config=config)
            elif self.building is not None:
                why = base.unusable or "the app's interpreter ended while it was starting"
                self.template_failed(self.building, why, None)

    def _rebuild_later(self, generation: int) -> None:
        if self.core.clock() - self._ready_ns > STABLE_NS:
            self._crashes = 0
        self._crashes += 1
        delay = backoff_s(self._crashes) if self._crashes > 1 else 0.0

        def again() -> None:
            if self.core.stopping or self.resting:
                return
            if self.building is None and self.pool.generation == generation:
                self.build(generation)

        self.core.loop.call_later(delay, again)

    def rest(self) -> None:
        """Let go of template and instances; what runs is finished. The next `build` brings them back."""
        self.resting = True
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
        if self.building is not None:
            overtaken, self.building = self.building, None
            overtaken.kill()
        self.pool.rest()
        if self.template is not None:
            template, self.template = self.template, None
            if template.alive:
                template.retire()
        if self.base is not None and self.pool.mode == SPAWN:
            self.base.forget_spawn(self.pool.generation)

    # -- the trial start -------------------------------------------------------------------------------

    def _start_trial(self, template: Template) -> None:
        if template is not self.template or self.pool.starter is None or self.core.stopping:
            return
        if self.pool.has_room():
            self.trial.start()
        else:
            self.core.loop.call_later(TRIAL_AGAIN_S, self._start_trial, template)

    def _instance_report(self, one: Instance, message: dict[str, Any]) -> None:
        if "trial" in message:
            self.trial.reported(one, message["trial"])
        elif "failed" in message:
            self.last_error = message["failed"]["sentence"]
            failed = message["failed"]
            self.core.console.failed(self.name, failed["sentence"], failed.get("traceback"))

    def _trial_over(self) -> None:
        self.is_up = True
        self.pool.top_up()
        if self._announce:
            self._announce = False
            self._listener.function_up(self)
        if self.template is None or self.core.stopping:
            return
        slow = self.template.report.get("init_ms", 0.0) >= KEEP_FROM_MS
        if self.template.report.get("keeps") and (slow or self.config.unit is None):
            self.core.loop.call_later(KEEP_AFTER_S, self._keep, self.template)
        elif self.found and self.template.report.get("buffers"):
            Checking(self.core, self.template, self.found["path"], self._damaged)

    # -- a snapshot for the next start ------------------------------------------------------------------

    def _keep(self, template: Template) -> None:
        if template is not self.template or not template.alive or self.building or self._keeping:
            return
        if self.core.stopping or template.retired:
            return
        self._keeping = Keeping(
            self.core,
            self.name,
            template,
            self._order,
            lambda: self._base_for(template.config, None),
            self._kept,
            self.user,
        )
        self._keeping.begin()

    def _kept(self, kept: Kept) -> None:
        self._keeping = None
        self.kept = kept
        self.core.console.kept(self.name, kept.about, kept.refused)

    def _damaged(self, template: Template, path: str, sentence: str) -> None:
        self.core.console.warn(f"{self.name}: {sentence} It was restored from it, and is started anew.")
        if template is self.template and self.building is None and not self.core.stopping:
            self.build(template.generation, mistrusted=path, config=template.config)
