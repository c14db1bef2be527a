"""The services' view of what is recorded: tails of logs, and what instances could not say of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from snapfork.runner.telemetry.desk import LogDesk
from snapfork.runner.telemetry.history import History


class Telemetry:
    """invocations.invoker.Logs. `store`: the file that the log process writes."""

    def __init__(self, desk: LogDesk, store: str) -> None:
        self.desk = desk
        self.store = store
        self._history: History | None = None

    async def tail(self, request_id: str) -> bytes:
        """The last 4 KB of what an invocation printed, all of it that was printed before now."""
        await self.desk.sync()
        if self._history is None:
            self._history = History(self.store)
        return self._history.tail(request_id)

    def record(self, fields: Mapping[str, Any]) -> None:
        """Say of a run what its instance could not say."""
        self.desk.record(dict(fields))

    async def read(self, what: Any) -> Any:
        """What the function `what` makes of a History, off the event loop."""

        def run() -> Any:
            history = History(self.store)
            try:
                return what(history)
            finally:
                history.close()

        return await asyncio.to_thread(run)

    def close(self) -> None:
        """Let go of file and socket."""
        self.desk.close()
        if self._history is not None:
            self._history.close()
