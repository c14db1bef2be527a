"""A look at all of the snapshot that a template was restored from, while the template already serves.

At each load only what is read then is compared with what was signed: the large buffers are mapped.
"""

from __future__ import annotations

from collections.abc import Callable

from snapfork.runner.gateway.core import Core
from snapfork.runner.gateway.errand import Errand
from snapfork.runner.gateway.templates import Template
from snapfork.runner.wire import fds, frames

CHECK_AFTER_S = 5.0
"""How long a restored template is left alone: the buffers take a second of a core per gigabyte."""


class Checking(Errand):
    """One look, by a fork of `template`; `on_damage(template, path, sentence)` is told what is wrong."""

    def __init__(
        self, core: Core, template: Template, path: str, on_damage: Callable[[Template, str, str], None]
    ) -> None:
        super().__init__(core)
        self._template = template
        self._path = path
        self._on_damage = on_damage
        core.loop.call_later(CHECK_AFTER_S, self._begin)

    def _begin(self) -> None:
        template = self._template
        if template.alive and not template.retired and not self._core.stopping:
            self._next(
                lambda number, sock: template.channel.send(
                    frames.pack_json({"op": "check", "number": number, "path": self._path}), (sock,)
                )
            )

    def _message(self, view: memoryview, received: list[int]) -> None:
        fds.close_all(received)
        message = frames.unpack_json(view)
        self._close()
        if message["damaged"]:
            self._on_damage(self._template, self._path, message["damaged"])

    def _fail(self, number: int, why: str) -> None:
        if number == self._number:
            self._close()  # the next start of the template looks again
