"""The gateway process of `runner serve`: wires the parts together, and stops them in order."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import secrets
import signal
import socket
from typing import Any

import uvloop
from snapfork.runner import systemd
from snapfork.runner.console import Console
from snapfork.runner.gateway.bases import Base, soft_file_limit
from snapfork.runner.gateway.children import Strays
from snapfork.runner.gateway.core import Child, Core
from snapfork.runner.gateway.desk import Desk, Handler
from snapfork.runner.gateway.door import FrontDoor
from snapfork.runner.gateway.function import Function
from snapfork.runner.gateway.helpers import Helpers
from snapfork.runner.gateway.instances import Instance
from snapfork.runner.gateway.listening import private_listener
from snapfork.runner.gateway.pipes import Pipes
from snapfork.runner.gateway.pool import Pool
from snapfork.runner.gateway.status import status
from snapfork.runner.gateway.stock import Bases
from snapfork.runner.gateway.sweep import sweep
from snapfork.runner.gateway.templates import Template
from snapfork.runner.gateway.traffic import Traffic
from snapfork.runner.gateway.units import Units
from snapfork.runner.http.routes import Route, Routes
from snapfork.runner.processes import privileges
from snapfork.runner.processes.descendants import end_all
from snapfork.runner.runtime_dir import DIRECT
from snapfork.runner.serve_config import ServeConfig
from snapfork.runner.wire import fds, frames

TICK_S = 0.1
CUT_AFTER_S = 1.0
"""How long instances get, at the drain deadline of a stop, to end their streams."""
REAP_S = 2.0
SAME_USER = (
    "deployed functions run as this user and can read what it can, keys and registry included; a runner that "
    "root has started runs them as another (--user)."
)
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def run(config: ServeConfig, console: Console) -> int:
    """Serve until told to stop; returns the exit status: 0, or 1 when a function could not start."""
    soft = soft_file_limit()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 65536:
        console.info(f"open files: the limit is {hard}, so at most about {hard - 64} connections.")
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    privileges.hide()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    gateway = Gateway(loop, config, console, soft)
    try:
        gateway.start()
        loop.run_forever()
    finally:
        gateway.close()
        loop.close()
    return gateway.exit_status


class Gateway:
    """All parts of one run."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, config: ServeConfig, console: Console, soft_files: int
    ) -> None:
        self.loop = loop
        self.config = config
        self.console = console
        self.exit_status = 0
        life_read, self._life_write = os.pipe2(os.O_CLOEXEC)
        os.fchmod(life_read, 0o444)  # who runs as another user opens it, too; nobody but us may write
        self.core = Core(
            loop=loop,
            config=config,
            console=console,
            boot_id=secrets.token_hex(4),
            cores=len(os.sched_getaffinity(0)),
            life_fd=life_read,
            soft_files=soft_files,
            access_fd=os.dup(1),
        )
        routes = [Route(host, prefix, one.name) for one in config.functions for host, prefix in one.prefixes]
        self.pools: dict[str, Pool] = {}
        traffic = Traffic(self.core, self.pools, routes)
        self.door = FrontDoor(self.core, Routes(routes), self.pools, traffic)
        self.door.judges.tell = self._tell
        bases = Bases(self.core, self._child_frame, self._base_died)
        plain = [{"host": one.host, "prefix": one.prefix, "function": one.function} for one in routes]
        self.functions = [
            Function(self.core, self.door, one, plain, self, bases, self._child_frame)
            for one in config.functions
        ]
        self.units = Units(self.core, self.door, self.pools, bases, self._child_frame, self._tell)
        for one in self.functions:
            self.pools[one.name] = one.pool
        self.control: dict[str, Any] = {}
        self._pipes = Pipes()
        self.core.attach_log = self._pipes.attach
        self._helpers = Helpers(self.core, self._pipes, self._take_services, self._changed)
        self._desk: Desk | None = None
        self._listening = False
        self._closing = False
        self._stop_deadline = 0.0
        self._cut_after_s = CUT_AFTER_S
        self._strays = Strays()

    # -- start ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the helpers and every function's template."""
        if self.config.deployed:
            os.makedirs(self.config.data_dir, mode=0o700, exist_ok=True)
            if os.geteuid() != 0:
                self.console.warn(SAME_USER)
        self._helpers.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self.stop)
        self.loop.add_signal_handler(signal.SIGHUP, self.reload, "SIGHUP")
        self.loop.call_later(TICK_S, self._tick)
        for one in self.functions:
            one.build()
        if self.config.deployed:
            path = os.path.join(self.config.runtime_dir, DIRECT)
            self.door.listen([private_listener(path)], direct=True)
            if not self.functions:
                self.units.stock()

    def _take_services(self, line: socket.socket, pid: int) -> None:
        """A services process has been started."""
        self.door.listeners.services_pid = pid
        handlers: dict[str, Handler] = {
            "status": self._status,
            "reload": self._reload_asked,
            "stop": self._stop_asked,
        }
        notices: dict[str, Handler] = {}
        if self.config.deployed:
            handlers |= self.units.handlers()
            notices["authorized"] = self.door.judges.answered
        if self._desk is not None:
            self._desk.close()
        self._desk = Desk(self.loop, line, handlers, self._services_ready, notices, self.door.judges.hung_up)

    def _services_ready(self, where: dict[str, Any]) -> None:
        if "fatal" in where:
            self.console.error(where["fatal"])
            if self.control and self._desk is not None:
                self._desk.close()  # it has been well before: it ends, and is started again
                return
            self.exit_status = 1
            self._finish()
            return
        self.control = where
        tcp = where.get("control_tcp")
        if tcp:
            self.config.control = (tcp[0], tcp[1])  # the same address should it have to start again
            self.console.info(f"control: http://{tcp[0]}:{tcp[1]}/status")
            for line in self.config.lesson:
                self.console.info(line.replace("{control}", f"{tcp[0]}:{tcp[1]}"))
            self.config.lesson = []
        if not self.functions and not self._listening:
            self._open()  # not before: what is deployed has its routes now

    def _tell(self, message: dict[str, Any]) -> bool:
        """Send the services process what it has not asked for; False when it is not there."""
        return self._desk is not None and self._desk.tell(message)

    def _changed(self, paths: list[str]) -> None:
        """The file watcher has seen something."""
        shown = ", ".join(os.path.relpath(path) for path in paths[:3])
        self.reload(f"{shown}{' and more' if len(paths) > 3 else ''} changed")

    # -- what happens --------------------------------------------------------------------------------

    def _child_frame(self, view: memoryview, received: list[int]) -> None:
        """FORKED and DIED, from bases and templates alike."""
        kind = view[0]
        if kind == frames.FORKED:
            forked = frames.unpack_forked(view)
            child = self._child(forked.number)
            if child is None:
                fds.close_all(received)
            elif not received:  # it did not fit into our descriptors
                self._find_again(forked)
            elif isinstance(child, Instance):
                child.home.forked(child, forked.pid, received[0])
            else:
                child.forked(forked.pid, received[0])
            return
        fds.close_all(received)
        if kind == frames.DIED:
            died = frames.unpack_died(view)
            child = self._child(died.number) if died.number else self._orphan(died.pid)
            if isinstance(child, Instance):
                child.home.died(child, died)
            elif child is not None:
                child.died(died)

    def _find_again(self, forked: frames.ForkedFrame) -> None:
        """A pidfd for a child whose own was lost, as soon as there is a descriptor for it."""
        child = self._child(forked.number)
        if child is None:
            return
        try:
            pidfd = os.pidfd_open(forked.pid)
        except ProcessLookupError:
            return  # its socket says the rest
        except OSError:
            self.loop.call_later(TICK_S, self._find_again, forked)
            return
        if isinstance(child, Instance):
            child.home.forked(child, forked.pid, pidfd)
        else:
            child.forked(forked.pid, pidfd)

    def _child(self, number: int) -> Instance | Child | None:
        core = self.core
        return core.instances.get(number) or core.templates.get(number) or core.others.get(number)

    def _orphan(self, pid: int) -> Instance | Template | None:
        """Who that was, whose parent has died before: a warden knows only its pid."""
        core = self.core
        children: list[Instance | Template] = [*core.instances.values(), *core.templates.values()]
        return next((one for one in children if one.pid == pid), None)

    def _base_died(self, base: Base) -> None:
        core = self.core
        core.others = {number: one for number, one in core.others.items() if one is not base}
        if not core.stopping:
            self.console.warn(
                f"the base template (pid {base.pid or base.warden}) died; it is started again when needed."
            )
        for one in self.functions:
            one.base_died(base)
        self.units.base_died(base)

    def function_early(self, function: Function, template: Template) -> None:
        """Of deployed functions only."""

    def function_built(self, function: Function, template: Template) -> None:
        """Its trial start comes first."""

    def function_up(self, function: Function) -> None:
        """A function can serve (again): refresh limits, and listen once all can."""
        self.door.refresh_limits()
        if self._listening:
            self._announce([function], [])
            self._reload_over()
            return
        if all(one.is_up for one in self.functions) and not self.core.stopping:
            self._open()

    def _open(self) -> None:
        self._listening = True
        try:
            self.door.listen(self.config.listeners)
        except OSError as error:
            # Two programs may bind one address while neither listens; the second to listen is refused.
            where = ", ".join(self.config.urls)
            self.console.error(f"{where}: {error.strerror}; another program was faster. Try --port 0.")
            self.exit_status = 1
            self._finish()
            return
        systemd.ready()
        self._announce(self.functions, self.config.urls)

    def _announce(self, functions: list[Function], urls: list[str]) -> None:
        entries = []
        for one in functions:
            kind, ms = one.trial.describe()
            host, prefix = one.config.prefixes[0]
            url = self.config.urls[0] if self.config.urls else ""
            entries.append(
                {
                    "name": one.name,
                    "mode": "spawn" if kind == "spawn" else "fork",
                    "start": kind,
                    "start_ms": ms or None,
                    "url": url + prefix if host is None else "",
                    "memory_bytes": one.trial.figures.get("private", 0),
                    "max_instances": one.pool.limits.maximum,
                    "reason": "",
                }
            )
        self.console.serving(urls, entries)

    def function_failed(
        self, function: Function, template: Template, sentence: str, traceback: str | None
    ) -> None:
        """A template did not come up: fatal at the start, survivable later."""
        if function.is_up:
            self.console.info(f"{function.name}: the version before goes on serving.")
            self._reload_over()
        elif self.config.reload:
            self.console.info(f"{function.name}: waiting for a change of its files.")
        else:
            self.exit_status = 1
            self._finish()

    def _reload_over(self) -> None:
        if all(one.building is None for one in self.functions):
            systemd.ready()

    def reload(self, why: str = "") -> None:
        """Build new templates; each swaps in when it comes up."""
        if self.core.stopping:
            return
        self.console.info(f"reloading ({why})." if why else "reloading.")
        if self._listening:
            systemd.reloading()
        for one in self.functions:
            one.build()

    def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        functions = [*self.functions, *self.units.functions()]
        return status(self.core, self.door, functions, self.control)

    def _reload_asked(self, message: dict[str, Any]) -> dict[str, Any]:
        name = message.get("function")
        chosen = [one for one in self.functions if name in (None, one.name)]
        if not chosen and (name is None or name in self.units.all):
            raise LookupError("what is deployed changes by `runner deploy`, not by a reload")
        if not chosen:
            raise LookupError(f"there is no function {name!r}")
        for one in chosen:
            one.build()
        return {"reloading": [one.name for one in chosen]}

    def _stop_asked(self, _: dict[str, Any]) -> dict[str, Any]:
        self.loop.call_soon(self.stop)
        return {"stopping": True}

    def _tick(self) -> None:
        now = self.core.clock()
        self.door.tick()
        for pool in self._live_pools():
            sweep(pool, now)
        self.units.tick(now)
        self._pipes.tick()
        wardens = [base.warden for base in self.core.bases.values() if base.pid]
        self._strays.tick(self._known_pids(), wardens)
        if self.core.stopping:
            self._stop_step()
        if not self._closing:
            self.loop.call_later(TICK_S, self._tick)

    def _known_pids(self) -> set[int]:
        core = self.core
        known = {one.pid for one in core.instances.values()} | {one.pid for one in core.templates.values()}
        known |= {one.pid for one in (*core.bases.values(), *core.stocked.values())}
        known |= {one.warden for one in core.bases.values()}
        return known | self._helpers.pids

    def _live_pools(self) -> list[Pool]:
        """Of the deployed ones only those in which something may happen: there may be thousands."""
        deployed = [one for one in self.units.pools() if one.instances or one.queue or one.minimum]
        return [one.pool for one in self.functions] + deployed

    # -- stop ----------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Finish what runs, up to the drain deadline; the second call stops at once."""
        if self.core.stopping:
            self.console.stopping("stopping at once.")
            self._finish()
            return
        self.core.stopping = True
        pools = self._live_pools()
        for pool in pools:
            for one in pool.instances.values():
                one.stopping()
        systemd.stopping()
        drain = max([pool.settings.get("drain_timeout", 0.0) for pool in pools] or [0.0])
        self._stop_deadline = self.loop.time() + drain
        self._cut_after_s = CUT_AFTER_S + max([pool.farewell_ns / 1e9 for pool in pools] or [0.0])
        busy = sum(1 for pool in pools if pool.active())
        finishing = f"stopping: finishing what runs (at most {drain:g} s; again to stop at once)."
        self.console.stopping(finishing if busy else "stopping.")
        self.door.stop_listening()
        self._stop_step()

    def _stop_step(self) -> None:
        now = self.loop.time()
        pools = self._live_pools()
        for pool in pools:
            for one in list(pool.instances.values()):
                if not pool.queue:
                    pool.dismiss(one, 2 if now > self._stop_deadline else 1)
        alive = any(pool.instances for pool in pools)
        if not (alive or self.door.connections) or now > self._stop_deadline + self._cut_after_s:
            self._finish()

    def _finish(self) -> None:
        if not self._closing:
            self._closing = True
            self.loop.call_soon(self.loop.stop)

    def close(self) -> None:
        """Kill what is left, wait for helpers, leave nothing behind."""
        self.core.stopping = True
        self.door.close_all()
        for pool in [one.pool for one in self.functions] + self.units.pools():
            for one in list(pool.instances.values()):
                one.kill("stop")
            pool.close()
        for template in list(self.core.templates.values()):
            template.kill()
        for base in [*self.core.stocked.values(), *self.core.bases.values()]:
            base.close()
        if self._desk is not None:
            self._desk.close()
        self._pipes.close()
        self._helpers.close()
        os.close(self._life_write)  # whoever is left dies with this
        end_all(REAP_S)  # what functions have started included
