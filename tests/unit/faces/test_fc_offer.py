"""Every operation of the FC API is either offered, and has a handler, or has a reason."""

from __future__ import annotations

from snapfork.runner.faces import fc_functions, fc_invoke, fc_layers, fc_limits, fc_offer, fc_triggers
from snapfork.runner.faces.model import Api

API = Api.load("fc_api.json", json_lists=True)


def test_every_operation_is_in_the_table() -> None:
    assert {name for name, _, _ in fc_offer.rows()} == set(API.operations)
    assert not fc_offer.OFFERED.keys() & fc_offer.NOT_OFFERED.keys()
    assert all(fc_offer.NOT_OFFERED.values())


def test_what_is_offered_has_a_handler() -> None:
    parts = (fc_functions, fc_invoke, fc_layers, fc_limits)
    handled = {name for part in parts for name in part.HANDLERS} | set(fc_triggers.handlers(API))
    assert handled == set(fc_offer.OFFERED)
