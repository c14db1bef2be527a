"""Chains of invocations that destinations bring."""

from __future__ import annotations

import json

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


def test_a_chain_goes_through_a_trace_and_strangers_words_are_none() -> None:
    chain = chains.longer(chains.longer(chains.longer("", "a"), "b-1"), "a")
    trace = chains.trace_of(chain, "0d6a4f0e-5a1c-4f43-8f0e-2b1f3b0f6b3a", 1.5)
    root = "Root=1-00000001-0d6a4f0e5a1c4f438f0e2b1f"
    assert trace == f"{root};Parent=0d6a4f0e5a1c4f43;Sampled=0;Lineage=a:2,b-1:1"
    assert json.loads(chains.of_trace(trace)) == {"a": 2, "b-1": 1}
    for text in ("", "Root=1-5759e988-bd862e3fe1be46a994272793", "Lineage=", "Lineage=a:b,:1", "Lineage=%:1"):
        assert chains.of_trace(text) == ""
