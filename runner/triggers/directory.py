"""A watched directory: a file that has come, changed or gone becomes an asynchronous invocation.

What the watcher says is only a reason to look; what counts is the difference between the directory and the
files that were told of, which is kept on the disk. So nothing is missed while the runner is down, or when the
kernel's queue of changes overflows; several changes in between are one. A file is told of when it is whole:
nobody has it open for writing and it has not changed for a moment; where the kernel does not say who writes,
for a longer moment.

The event loop is everybody's: directories are looked at and compared in threads. One that has grown beyond
what may be watched is named in the logs and rests: nothing of it is told until it is small enough again, then
all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import threading
import time

from snapfork.runner.invocations.model import Invocation
from snapfork.runner.registry import directories
from snapfork.runner.registry.errors import NotFound, OperationError
from snapfork.runner.registry.model import Trigger
from snapfork.runner.triggers import events, files
from snapfork.runner.triggers.events import CREATED, REMOVED, FileChange
from snapfork.runner.triggers.memory import Seen
from snapfork.runner.triggers.timers import Means
from watchfiles import watch

QUIET_S = 0.2
"""A file that nobody writes is whole when it has stayed the same for this long."""
LONG_QUIET_S = 2.0
"""The same, where we cannot know whether somebody writes."""
RESCAN_S = 60.0
AGAIN_S = 1.0
LISTEN_MS = 1000
TOGETHER = 200
"""Files whose events share a few commits of the queue."""


class Watch:
    """One trigger's directory. `quiet`, `long_quiet` seconds: see QUIET_S, LONG_QUIET_S."""

    def __init__(
        self,
        trigger: Trigger,
        means: Means,
        quiet: float = QUIET_S,
        long_quiet: float = LONG_QUIET_S,
    ) -> None:
        self.trigger = trigger
        self.directory: str = trigger.config["directory"]
        self._means = means
        self._quiet = quiet
        self._long_quiet = long_quiet
        self._told: dict[str, Seen] = {}
        self._waiting: dict[str, tuple[Seen, float]] = {}
        self._changed: set[str] = set()
        self._scan_due = True
        self._crowded = False
        self._wake = asyncio.Event()
        self._stop = threading.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Watch from now on; what happened since it was last watched is told of first."""
        loop = asyncio.get_running_loop()
        name = f"watch-{self.trigger.name}"
        threading.Thread(target=self._listen, args=(loop,), name=name, daemon=True).start()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Watch no more."""
        self._stop.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # -- what may have changed ---------------------------------------------------------------------------

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """A thread of its own: what the kernel tells of; and to look at everything once the watch stands."""
        complained = False
        while not self._stop.is_set():
            begun = False
            watched = files.identity(self.directory)
            try:
                directories.check_size(self.directory)  # the watch's own walk through it would hold up all
                for batch in watch(
                    self.directory, watch_filter=None, step=20, debounce=100, stop_event=self._stop,
                    ignore_permission_denied=True, raise_interrupt=False, yield_on_timeout=True,
                    rust_timeout=LISTEN_MS,
                ):  # fmt: skip
                    complained = False
                    if batch or not begun:
                        loop.call_soon_threadsafe(self._heard, {path for _, path in batch}, not begun)
                    begun = True
                    if files.identity(self.directory) != watched:
                        break  # it is gone, or another has its name; the kernel goes on about the old one
            except OSError as error:
                if not complained:
                    self._complain(f"{self.directory} cannot be watched: {error.strerror or error}.")
                    complained = True
            except directories.Crowded:  # the other side has seen that, too, and says so
                self._stop.wait(RESCAN_S)
            except RuntimeError:  # the event loop has ended
                return
            if begun:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._heard, set(), True)
            self._stop.wait(AGAIN_S)

    def _heard(self, paths: set[str], everything: bool) -> None:
        self._changed |= paths
        self._scan_due = self._scan_due or everything
        self._wake.set()

    async def _run(self) -> None:
        """Look at what may have changed, tell of what is whole, wait for more."""
        known = None
        while known is None:
            try:
                known = await self._begin()
            except OSError:
                await self._sleep(AGAIN_S)
            except directories.Crowded as error:
                self._rest(error)
                await asyncio.sleep(RESCAN_S)
        self._told = known
        rescan = 0.0
        while True:
            self._wake.clear()
            now = time.monotonic()
            if self._scan_due or now >= rescan:
                self._scan_due = False
                rescan = now + RESCAN_S
                await self._compare_all()
            if self._crowded:
                self._changed.clear()
            else:
                await self._compare_changed()
            more = await self._tell_whole()
            await self._sleep(self._quiet / 2 if more else max(0.0, rescan - time.monotonic()))

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        if self._waiting:
            await asyncio.sleep(self._quiet / 2)

    async def _begin(self) -> dict[str, Seen]:
        """The files that were told of; at the very first time those that were there before the trigger."""
        known = await self._means.memory.files(self.trigger.id, self.directory)
        if known is not None:
            return known
        there = await asyncio.to_thread(files.scan, self.directory)
        since = self.trigger.modified

        def older() -> dict[str, Seen]:
            return {path: seen for path, seen in there.items() if files.arrived(self.directory, path) < since}

        known = await asyncio.to_thread(older)
        await self._means.memory.begin_files(self.trigger.id, self.directory, known)
        return known

    async def _compare_all(self) -> None:
        def compare() -> dict[str, Seen | None]:
            try:
                there = files.scan(self.directory)
            except OSError:
                if os.path.lexists(self.directory):
                    raise
                there = {}
            known = self._told  # nobody changes it before this is done
            found: dict[str, Seen | None] = {path: s for path, s in there.items() if known.get(path) != s}
            found.update((path, None) for path in known if path not in there)
            return found

        try:
            different = await asyncio.to_thread(compare)
        except OSError:
            return  # not to be read for the moment: that says nothing of the files
        except directories.Crowded as error:
            self._rest(error)
            return
        self._crowded = False
        for path in self._waiting.keys() - different.keys():
            del self._waiting[path]
        for path, seen in different.items():
            self._note(path, seen)

    def _rest(self, error: directories.Crowded) -> None:
        if not self._crowded:
            self._complain(str(error))
        self._crowded = True
        self._waiting.clear()

    async def _compare_changed(self) -> None:
        changed, self._changed = self._changed, set()
        if not changed:
            return
        paths = [os.path.relpath(path, self.directory) for path in changed]

        def look() -> dict[str, Seen | None]:
            found: dict[str, Seen | None] = {}
            for path in paths:
                if os.path.isdir(os.path.join(self.directory, path)):
                    # A directory came with files in it; or it is gone with them, see below.
                    with contextlib.suppress(OSError):
                        inside = files.scan(os.path.join(self.directory, path))
                        found.update(
                            {os.path.normpath(os.path.join(path, one)): s for one, s in inside.items()}
                        )
                else:
                    found[path] = files.look(self.directory, path)
            gone = {path for path, seen in found.items() if seen is None and path not in self._told}
            if gone:
                found.update((one, None) for one in self._told if not gone.isdisjoint(files.above(one)))
            return found

        try:
            found = await asyncio.to_thread(look)
        except directories.Crowded:
            self._heard(set(), True)
            return
        for path, seen in found.items():
            self._note(path, seen)

    def _note(self, path: str, seen: Seen | None) -> None:
        """A file was found like this (None: it is not there)."""
        if seen == self._told.get(path):
            self._waiting.pop(path, None)
            return
        if seen is None:
            seen = Seen(-1, -1)
        waiting = self._waiting.get(path)
        if waiting is None or waiting[0] != seen:
            self._waiting[path] = (seen, time.monotonic())

    # -- telling -----------------------------------------------------------------------------------------

    async def _tell_whole(self) -> bool:
        """Send the events of what has come to rest; True while there is more to wait for."""
        now = time.monotonic()
        waiting = (
            (path, seen, now - since) for path, (seen, since) in self._waiting.items()
            if now - since >= self._quiet
        )  # fmt: skip
        rested = list(itertools.islice(waiting, TOGETHER * 5))

        def look() -> list[tuple[str, Seen | None, bool]]:
            found = []
            for path, before, rest in rested:
                seen = files.look(self.directory, path)
                whole = seen == (before if before.size >= 0 else None)
                if whole and seen is not None:
                    writing = files.is_being_written(self.directory, path)
                    whole = rest >= self._long_quiet if writing is None else not writing
                    whole = whole and files.look(self.directory, path) == seen
                found.append((path, seen, whole))
            return found

        changes: list[tuple[str, Seen | None]] = []
        for path, seen, whole in await asyncio.to_thread(look) if rested else ():
            if whole:
                changes.append((path, seen))
            else:
                self._note(path, seen)
        for at in range(0, len(changes), TOGETHER):
            if not await self._tell(changes[at : at + TOGETHER]):
                break
        return bool(self._waiting)

    async def _tell(self, changes: list[tuple[str, Seen | None]]) -> bool:
        """Enqueue the events of these changes, then remember them. False: it has to be tried again."""
        made = [
            self._enqueue(change) for path, seen in changes
            if events.wanted(self.trigger, change := self._change(path, seen))
        ]  # fmt: skip
        try:
            await asyncio.gather(*made)
            await self._means.memory.change_files(self.trigger.id, dict(changes))
        except NotFound:
            return False  # the function has been deleted: its triggers end in a moment
        except OperationError as error:
            self._complain(error.message)
            await asyncio.sleep(AGAIN_S)
            return False
        for path, seen in changes:
            self._waiting.pop(path, None)
            if seen is None:
                self._told.pop(path, None)
            else:
                self._told[path] = seen
        return True

    def _change(self, path: str, seen: Seen | None) -> FileChange:
        if seen is not None:
            return FileChange(CREATED, path, seen.mtime_ns, seen.size)
        was = self._told.get(path, Seen(0, 0))
        return FileChange(REMOVED, path, was.mtime_ns, was.size)

    async def _enqueue(self, change: FileChange) -> None:
        trigger = self.trigger
        dialect = self._means.operations.resolve(trigger.function, trigger.qualifier).function.dialect
        await self._means.queue.enqueue(
            Invocation(
                events.change_id(trigger, change), trigger.function, trigger.qualifier,
                events.file(trigger, change, self._means.site, self._means.clock()),
                trigger=trigger.kind, dialect=dialect, content_type="application/json",
            )
        )  # fmt: skip

    def _complain(self, message: str) -> None:
        said = f"Trigger {self.trigger.name} of {self.trigger.function}: {message}"
        print(said, file=sys.stderr, flush=True)
