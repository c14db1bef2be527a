"""What is mended in forked children."""

from __future__ import annotations

import subprocess
import sys
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
        atexit.register(print, "AT EXIT", flush=True)

        def use():
            return [
                signal.set_wakeup_fd(-1),
                atexit._ncallbacks(),
                gc.isenabled(),
                subprocess.run([sys.executable, "-c", "raise SystemExit(3)"]).returncode,
            ]
        """,
    )
    assert results(said) == [[-1, 0, True, 3]] * 2
    assert "AT EXIT" not in said["stdout"]


HANDLERS = """
import logging, os, random, signal, socket, sys, threading
import concurrent.futures.thread
from snapfork.runner.processes import atfork, life, stdio
from snapfork.runner.processes.forker import Forker
from snapfork.runner.wire import fds

stdio.prepare()
signal.signal(signal.SIGCHLD, lambda *_: None)
theirs = []
os.register_at_fork(after_in_child=lambda: theirs.append(os.getpid()))
ours, gateway = fds.pair()
before = random.getstate()
assert atfork.prepare() == 13
if Forker(ours).fork(1):
    atfork.in_child()
    assert theirs == [os.getpid()], "handlers of others run"
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    assert random.getstate() != before
    assert threading.main_thread().native_id == os.getpid()
    with logging._lock, concurrent.futures.thread._global_shutdown_lock:
        pass
    # A fork of the instance's own, with a second thread: every handler acts again.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    state = random.getstate()
    pid = os.fork()
    if pid == 0:
        alone = threading.active_count() == 1 and random.getstate() != state
        os._exit(0 if alone and len(theirs) == 2 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    os._exit(0)
while True:
    data, descriptors = fds.receive(gateway, buffer := bytearray(4096))
    fds.close_all(descriptors)
    if buffer[:1] == b"D":
        from snapfork.runner.wire.frames import unpack_died
        sys.exit(unpack_died(memoryview(buffer)[:data]).status)
"""


def test_the_standard_librarys_fork_handlers_pass_once() -> None:
    done = subprocess.run([sys.executable, "-c", HANDLERS], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr


def test_what_the_app_froze_itself_stays_out_of_collections(tmp_path: Path) -> None:
    said = take_through(tmp_path, "import gc\ngc.disable()\ndef use():\n    return gc.isenabled()")
    assert results(said) == [False, False]
    assert said["freeze"]["rss_bytes"] > 1_000_000
