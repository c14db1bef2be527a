"""What becomes of requests that a dead instance had not begun."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from snapfork.runner.gateway import losses
from snapfork.runner.wire.page import W_BUSY, private_page


@pytest.mark.parametrize(("runs_another", "lent_again"), [(1, True), (0, False)])
def test_a_request_is_lent_again_however_often_others_have_killed_its_instance(
    runs_another: int, lent_again: bool
) -> None:
    words = private_page().words
    words[W_BUSY] = runs_another
    slot = (0, 0, 0, 0)
    one: Any = SimpleNamespace(cause="", words=words, slot=lambda number: slot)
    conn: Any = SimpleNamespace(is_tcp=False, slot=0, loan_id=7, retries=losses.MAX_RETRIES, late=False)
    conn.direct, conn.seq = False, 0
    lent: list[object] = []
    failed: list[object] = []
    pool: Any = SimpleNamespace(
        interface="wsgi",
        shares=True,
        patient=False,
        name="app",
        settings={"timeout": 1},
        core=SimpleNamespace(boot_id="b"),
        submit=lent.append,
        fail=lambda conn, *told: failed.append(conn),
    )
    losses.settle(pool, one, conn)
    assert (lent, failed) == (([conn], []) if lent_again else ([], [conn]))
