"""Chains of invocations that destinations bring."""

from __future__ import annotations

from snapfork.runner.policy import chains


def test_a_function_has_its_turns_in_a_chain() -> None:
    chain = ""
    for _ in range(chains.LIMIT):
        assert not chains.is_loop(chain, "a")
        chain = chains.longer(chain, "a")
    assert chains.is_loop(chain, "a") and not chains.is_loop(chain, "b")


def test_a_long_way_through_many_functions_is_no_loop() -> None:
    chain = ""
    for number in range(100):
        assert not chains.is_loop(chain, f"step-{number}")
        chain = chains.longer(chain, f"step-{number}")
