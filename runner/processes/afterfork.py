"""What a fresh child must mend before its first request, in order.

`prepare` runs in the template, once, and decides which repairs this app needs; `repair` runs in every child
and only carries them out, since each fork pays for it. What the template can mend for all of its children is
mended in `prepare`: numbers of BLAS threads, variables. Not here, because nothing is needed: connection pools
(dropped in the template, see `quiesce`), OpenSSL's and the kernel's random numbers and `uuid` (each notices a
fork by itself), event loops (ended in the template); and what CPython's own fork hooks mend (see `atfork`).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`
import atexit
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from snapfork.runner.processes import blas, heap

_repairs: list[Callable[[], object]] = []
_shared: list[Any] = []


def prepare(
    saved_threads: Mapping[str, str | None] | None = None, seeded: Mapping[int, str] | None = None
) -> list[str]:
    """Decide in the template what children must mend; returns one sentence per repair.

    `saved_threads`: the variables with which BLAS and OpenMP were held to one thread, with the user's values
    (None: unset). `seeded`: ids of generators that the app seeded itself, which keep their sequence.
    """
    _repairs.clear()
    said: list[str] = []
    generators = _unseeded(seeded or {})
    if generators:
        _repairs.append(_reseed(generators))
        said.append(f"{len(generators)} random.Random generator(s) will be reseeded in each instance.")
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        _repairs.append(_reseed_numpy(numpy_random.seed))
        said.append("numpy.random will be reseeded in each instance.")
    if saved_threads:
        said += blas.restore(saved_threads)
        _restore_environment(saved_threads)
    return said


def repair() -> None:
    """Mend this child, before its after_fork hooks run."""
    _signal.set_wakeup_fd(-1)
    # Instances leave by os._exit; what was registered in the template must not run in a child that does not.
    atexit._clear()
    for mend in _repairs:
        mend()


def _restore_environment(saved: Mapping[str, str | None]) -> None:
    # Already in the template: these variables act when a library is loaded, which is over here.
    for name, value in saved.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def note_generators() -> None:
    """In a base, before what it holds is frozen: templates would not find its generators any more."""
    random = sys.modules.get("random")
    if random is not None:
        _shared.extend(heap.instances(random.Random))


def _unseeded(seeded: Mapping[int, str]) -> list[Any]:
    random = sys.modules.get("random")
    if random is None:
        return []
    return [
        generator
        for generator in (*_shared, *heap.instances(random.Random))
        if not isinstance(generator, random.SystemRandom)
        and generator is not random._inst
        and id(generator) not in seeded
    ]


def _reseed(generators: list[Any]) -> Callable[[], None]:
    def reseed() -> None:
        for generator in generators:
            generator.seed()

    return reseed


def _reseed_numpy(seed: Callable[[Any], None]) -> Callable[[], None]:
    def reseed() -> None:
        seed(int.from_bytes(os.urandom(4), "little"))

    return reseed
