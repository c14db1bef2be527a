"""Least recently used templates go, until the rest fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.policy.retirement import Warm, retirees

TEMPLATES = st.lists(
    st.builds(Warm, st.text(min_size=1), st.integers(0, 100), st.integers(0, 50), st.booleans()),
    unique_by=lambda one: one.name,
    max_size=12,
)


@pytest.mark.parametrize(
    ("budget", "gone"),
    [(100, []), (60, []), (59, ["a"]), (45, ["a", "c"]), (0, ["a", "c"])],
)
def test_the_longest_unused_go_first(budget: int, gone: list[str]) -> None:
    warm = [Warm("c", 20, 3, False), Warm("a", 10, 1, False), Warm("b", 10, 2, True), Warm("d", 20, 4, False)]
    assert retirees(warm, budget) == gone


@given(TEMPLATES, st.integers(0, 500))
def test_only_what_must_go_goes(warm: list[Warm], budget: int) -> None:
    gone = retirees(warm, budget)
    by_name = {one.name: one for one in warm}
    left = sum(one.size for one in warm if one.name not in gone)
    assert not any(by_name[name].held for name in gone)
    if gone:
        # Without the last of them it would not have fitted.
        assert left + by_name[gone[-1]].size > budget
        newest = max(one.used_ns for one in warm)
        assert any(one.used_ns == newest and one.name not in gone for one in warm)
    free = [one for one in warm if not one.held and one.name not in gone]
    if left > budget and warm:
        assert len(free) <= 1, "something could still have gone"


def test_descriptors_are_a_budget_of_their_own() -> None:
    warm = [Warm(name, 1, used, False, 10) for used, name in enumerate("abcd")]
    assert retirees(warm, 100, 40) == []
    assert retirees(warm, 100, 25) == ["a", "b"]
    assert retirees(warm, 100, 0) == ["a", "b", "c"]
