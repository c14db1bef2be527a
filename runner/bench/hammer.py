"""A process that asks the control API at a bounded rate while something else is measured.

Arguments: JSON of {"address", "key": {id, secret}, "rates": {what: per second}, "function"}. It hammers while
its standard input is open, and then says how many answers it had, how many were no success, as JSON.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from snapfork.runner.bench.client import Address
from snapfork.runner.bench.deployed import LAMBDA, NATIVE, Connection, Signer, plain
from snapfork.runner.errors import UserError
from snapfork.runner.registry.model import Key

INVOKE, ENQUEUE, STATUS, METRICS = "invoke", "enqueue", "status", "metrics"
NICENESS = 10
"""Clients would be on other machines: ours gets a processor when nothing of the runner wants it."""


class Hammer:
    """As a context it hammers; afterwards `told` is what it had: {"answers": ..., "failed": ...}."""

    def __init__(self, address: Address, key: Key, function: str, rates: Mapping[str, float]) -> None:
        about = {"address": address, "key": [key.id, key.secret], "function": function, "rates": dict(rates)}
        self._command = [sys.executable, "-P", "-m", "snapfork.runner.bench.hammer", json.dumps(about)]
        self.told: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has begun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        said = self._process.communicate()[0]
        if error is None:
            if self._process.returncode:
                raise UserError("the process that hammers the control API has failed.")
            self.told = json.loads(said)


def schedule(rates: Mapping[str, float], second: float = 1.0) -> list[tuple[float, str]]:
    """The moments of one second, evenly spread for each kind, and what is asked then."""
    found = []
    for number, (what, rate) in enumerate(sorted(rates.items())):
        found += [((index + number / len(rates)) / rate, what) for index in range(int(rate * second))]
    return sorted(found)


def _wire(signer: Signer, what: str, function: str) -> bytes:
    if what == INVOKE:
        return signer.invoke(LAMBDA, function)
    if what == ENQUEUE:
        return signer.invoke(NATIVE, function, asynchronous=True)
    return plain("GET", f"/{what}")


def main() -> None:
    os.nice(NICENESS)
    about: dict[str, Any] = json.loads(sys.argv[1])
    address = (about["address"][0], about["address"][1])
    signer = Signer(Key(*about["key"]), f"{address[0]}:{address[1]}")
    moments = schedule(about["rates"])
    answers = failed = 0
    print(flush=True)
    with Connection(address) as connection:
        begun = time.monotonic()
        while True:
            for at, what in moments:
                wire = _wire(signer, what, about["function"])
                wait = max(0.0, begun + at - time.monotonic())
                if select.select([sys.stdin], [], [], wait)[0]:
                    print(json.dumps({"answers": answers, "failed": failed}), flush=True)
                    return
                answers += 1
                failed += connection.ask(wire)[0].status >= 400
            begun = max(begun + 1.0, time.monotonic() - 0.1)  # what cannot be kept up is not made up for


if __name__ == "__main__":
    main()
