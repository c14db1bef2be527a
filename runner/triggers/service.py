"""All triggers that invoke by themselves, put together for the services process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from snapfork.runner.registry.trigger_checks import DIRECTORY_KINDS
from snapfork.runner.triggers.directory import Watch
from snapfork.runner.triggers.events import Site
from snapfork.runner.triggers.memory import FILE, Memory
from snapfork.runner.triggers.timers import Enqueues, Means, Operations, Timers


class Triggers:
    """Timers and watched directories, as the registry has them at each moment. See `start`."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self.timers = Timers(means)
        self._watches: dict[str, Watch] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, data_dir: Path, operations: Operations, queue: Enqueues, site: Site | None = None
    ) -> Triggers:
        """Run the triggers of `operations`, and follow their changes; `data_dir` holds what they remember.

        Raises UserError when that file cannot be used.
        """
        memory = Memory(data_dir / FILE)
        await memory.start()
        triggers = cls(Means(operations, queue, memory, site or Site()))
        operations.subscribe(triggers.changed)
        await triggers.timers.start()
        triggers._changed.set()
        triggers._task = asyncio.create_task(triggers._follow())
        return triggers

    async def stop(self) -> None:
        """End; what happens from now on is found at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.timers.close()
        await asyncio.gather(*(watch.close() for watch in self._watches.values()))
        self._watches.clear()
        await self._means.memory.close()

    def changed(self, kind: str, _name: str) -> None:
        """Something of the registry has changed."""
        if kind == "function":
            self._changed.set()
            self.timers.changed()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._settle()

    async def _settle(self) -> None:
        """Watch what is to be watched, and nothing else; forget triggers that are no more."""
        directories = [one for kind in DIRECTORY_KINDS for one in self._means.operations.triggers(kind)]
        wanted = {one.id: one for one in directories if one.enabled}
        for identity, watch in list(self._watches.items()):
            if wanted.get(identity) != watch.trigger:
                del self._watches[identity]
                await watch.close()
        for identity, trigger in wanted.items():
            if identity not in self._watches:
                watch = Watch(trigger, self._means)
                self._watches[identity] = watch
                await watch.start()
        ticking = self._means.operations.triggers("timer")
        # What happens while a directory's trigger is off is none of its business: it begins anew.
        await self._means.memory.keep_only(one.id for one in [*wanted.values(), *ticking])
