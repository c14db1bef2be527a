"""Keeping a snapshot of a ready template: two processes behind everything else, and what they say."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snapfork.runner.gateway.bases import Base
from snapfork.runner.gateway.core import Core
from snapfork.runner.gateway.errand import Errand
from snapfork.runner.gateway.pipes import output_pipe
from snapfork.runner.gateway.templates import Template
from snapfork.runner.wire import fds, frames

_drafts = itertools.count(1)


@dataclass
class Kept:
    """How it ended: `about` of the snapshot (see `processes.keep.capture`), or why there is none."""

    about: dict[str, Any]
    refused: str = ""


class Keeping(Errand):
    """One attempt: a fork of `template` writes a draft, and a template of a base restores and compares it."""

    def __init__(
        self,
        core: Core,
        name: str,
        template: Template,
        order: dict[str, Any],
        get_base: Callable[[], Base],
        on_end: Callable[[Kept], None],
        user: tuple[int, int, str] | None,
    ) -> None:
        super().__init__(core)
        self._user = user
        self._name = name
        self._template = template
        self._order = order
        self._get_base = get_base
        self._on_end = on_end
        drafts = os.path.join(order["data_dir"], "snapshots", "drafts")
        self._draft = os.path.join(drafts, f"{os.getpid()}-{next(_drafts)}.snap")
        self._about: dict[str, Any] = {}
        self._over = False

    def begin(self) -> None:
        """Order the first half."""
        self._next(
            lambda number, sock: self._template.channel.send(
                frames.pack_json({"op": "capture", "number": number, "draft": self._draft}), (sock,)
            )
        )

    def cancel(self) -> None:
        """The app's code has moved on."""
        if not self._over:
            self._on_end = lambda _: None
            self._end(Kept({}, "it is no longer wanted"))

    def _verify(self, number: int, sock: int) -> None:
        log_read, log_write = output_pipe(self._user)
        order = self._order | {"restore": self._draft, "verify": self._draft, "keep": False, "early": False}
        self._get_base().load(number, order, sock, log_write)
        os.close(log_write)
        self._core.attach_log(log_read, self._name, "snapshot", 0)

    def _message(self, view: memoryview, received: list[int]) -> None:
        fds.close_all(received)
        message = frames.unpack_json(view)
        if "captured" in message:
            self._about = message["captured"]
            self._core.others.pop(self._number, None)
            self._number = 0  # its end is no failure any more, and may be read before the next half begins
            self._core.loop.call_soon(self._next, self._verify)
        elif "kept" in message:
            self._end(Kept(self._about | message["kept"]))
        elif "unkept" in message:
            self._end(Kept(self._about, message["unkept"]))
        elif "dirtied" in message:
            self._end(Kept(self._about, "restored, it does not warm up as it did"))

    def _fail(self, number: int, why: str) -> None:
        if number == self._number and not self._over:
            self._end(Kept(self._about, why))

    def _end(self, kept: Kept) -> None:
        self._over = True
        self._close()
        for path in (self._draft, f"{self._draft}.json"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._on_end(kept)
