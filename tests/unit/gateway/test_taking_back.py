"""Connections are taken from an instance whose request keeps them waiting."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from snapfork.runner.gateway.instances import LEAVING, READY, Instance
from snapfork.runner.gateway.sharing import Sharing
from snapfork.runner.policy.sharing import MOST_HELD, PATIENT_LOOKS
from snapfork.runner.wire import page
from snapfork.runner.wire.guard import Guard


class Stuck:
    """An instance that runs a request on one of two connections; `looks` are those to come."""

    def __init__(self, state: str) -> None:
        self.looks: list[Callable[[], None]] = []
        self.submitted: list[object] = []
        self.guard = Guard(page.make_page(MOST_HELD))
        words = page.map_words(self.guard.fd)
        kit: Any = SimpleNamespace(words=words, guard=self.guard)
        self.one = one = Instance(1, 0, 1, MOST_HELD, kit, 0)
        channel: Any = SimpleNamespace(drain=lambda: None)
        one.state, one.channel, one.pid = state, channel, os.getpid()
        board = page.Page(words)
        for number in (1, 2):
            conn: Any = SimpleNamespace(slot=one.free_slots.pop(), loan_id=number, retries=0)
            one.loans[number] = conn
            board.claim(conn.slot, number)
        board.turned_to(1)
        board.begin(one.loans[1].slot, 1)
        loop = SimpleNamespace(call_later=lambda delay, look: self.looks.append(look))
        core = SimpleNamespace(loop=loop, cores=2, clock=lambda: 1, loan_ids=itertools.count(3))
        pool: Any = SimpleNamespace(core=core, instances={1: one}, submit=self.submitted.append)
        self.sharing = Sharing(pool)


@pytest.mark.parametrize("state", [READY, LEAVING])
def test_what_waits_for_a_long_request_is_lent_elsewhere_even_if_the_instance_is_to_go(state: str) -> None:
    stuck = Stuck(state)
    waits = stuck.one.loans[2]
    try:
        stuck.sharing.look_soon()
        for _ in range(PATIENT_LOOKS + 2):
            for look in stuck.looks[:]:
                stuck.looks.remove(look)
                look()
        assert stuck.submitted == [waits]
        assert list(stuck.one.loans) == [1]
    finally:
        stuck.guard.close()
