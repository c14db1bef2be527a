"""The stages that a wait for a first answer is made of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.processes.cold import Cold, stages

MS = 1_000_000
BUILT = Cold(
    asked_ns=2 * MS,
    ready_ns=40 * MS,
    spans=(("look up", 5 * MS, 8 * MS), ("restore", 8 * MS, 12 * MS), ("warm up", 13 * MS, 38 * MS)),
)


def test_an_invocation_that_waits_for_its_template() -> None:
    # 1 ms until a template was asked for; 3, 1 and 2 ms between its stages, and 5 until it had an instance.
    assert stages(BUILT, 1 * MS, 1 * MS, 45 * MS) == {
        "schedule": 1.0, "fetch": 3.0, "unpack": 4.0, "initialise": 25.0, "start": 11.0,
    }  # fmt: skip


def test_one_that_comes_while_it_is_being_built() -> None:
    assert stages(BUILT, 20 * MS, 20 * MS, 45 * MS) == {"initialise": 18.0, "start": 7.0}


def test_one_that_needs_an_instance_of_a_template_that_is_there() -> None:
    assert stages(BUILT, 50 * MS, 51 * MS, 54 * MS) == {"schedule": 1.0, "start": 3.0}


def test_one_whose_instance_is_there() -> None:
    assert stages(BUILT, 50 * MS, 52 * MS, 52 * MS) == {"schedule": 2.0}
    assert stages(BUILT, 50 * MS, 50 * MS, 50 * MS) == {}


@given(st.lists(st.integers(0, 60 * MS), min_size=3, max_size=3).map(sorted))
def test_together_they_are_the_wait(times: list[int]) -> None:
    accepted, lent, started = times
    found = stages(BUILT, accepted, lent, started)
    assert all(ms >= 0 for ms in found.values())
    assert abs(sum(found.values()) - (started - accepted) / MS) < 0.005
