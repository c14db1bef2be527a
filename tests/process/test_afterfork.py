"""What is mended in forked children."""

from __future__ import annotations

from pathlib import Path

import pytest
from stages import results, take_through


def test_children_draw_different_random_numbers_unless_the_app_seeded_them(tmp_path: Path) -> None:
    said = take_through(
        tmp_path,
        """
        import random, uuid, secrets
        own, seeded = random.Random(), random.Random(42)

        def use():
            return [random.random(), own.random(), str(uuid.uuid4()), secrets.token_hex(), seeded.random()]
        """,
        children=3,
    )
    for drawn in list(zip(*results(said), strict=True))[:4]:
        assert len(set(drawn)) == 3
    assert len({seeded for *_, seeded in results(said)}) == 1


def test_numpy_is_reseeded(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    said = take_through(
        tmp_path,
        """
        import numpy

        def use():
            return float(numpy.random.random())
        """,
        children=3,
    )
    assert len(set(results(said))) == 3


def test_blas_gets_the_number_of_threads_that_the_user_wanted(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    pytest.importorskip("threadpoolctl")
    said = take_through(
        tmp_path,
        """
        import os
        import numpy, threadpoolctl
        saved_threads = {"OPENBLAS_NUM_THREADS": "3", "OMP_NUM_THREADS": None, "MKL_NUM_THREADS": None}

        def use():
            product = numpy.ones((300, 300)) @ numpy.ones((300, 300))
            numbers = [library["num_threads"] for library in threadpoolctl.threadpool_info()]
            names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
            return [numbers, [os.environ.get(name) for name in names], float(product[0, 0])]
        request = use
        """,
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        MKL_NUM_THREADS="1",
    )
    assert said["findings"] == []
    assert set(said["request"][0]) == {1}
    assert said["threads"] == 1 and said["repairs"]
    for numbers, variables, product in results(said):
        assert set(numbers) == {3} and variables == ["3", None] and product == 300.0


def test_signals_exit_handlers_and_collector(tmp_path: Path) -> None:
    said = take_through(
        tmp_path,
        """
        import atexit, gc, signal, subprocess, sys
        signal.signal(signal.SIGCHLD, lambda *_: None)
        atexit.register(print, "AT EXIT", flush=True)

        def use():
            return [
                signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
                signal.set_wakeup_fd(-1),
                atexit._ncallbacks(),
                gc.isenabled(),
                subprocess.run([sys.executable, "-c", "raise SystemExit(3)"]).returncode,
            ]
        """,
    )
    assert results(said) == [[True, -1, 0, True, 3]] * 2
    assert "AT EXIT" not in said["stdout"]


def test_what_the_app_froze_itself_stays_out_of_collections(tmp_path: Path) -> None:
    said = take_through(tmp_path, "import gc\ngc.disable()\ndef use():\n    return gc.isenabled()")
    assert results(said) == [False, False]
    assert said["freeze"]["objects"] > 1000
    assert said["freeze"]["private_bytes"] > 1_000_000 and said["freeze"]["rss_bytes"] > 1_000_000
