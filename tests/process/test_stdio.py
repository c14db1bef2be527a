"""The instance's output: framed, attributed, whole, and never a reason to wait."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.processes import stdio
from snapfork.runner.services.frames import FrameParser, Unit

HEAD = """
import logging, os, subprocess, sys, threading, traceback
from snapfork.runner.processes import stdio
stdio.prepare()
logging.basicConfig(level=logging.INFO, format="%(message)s")
from snapfork.runner.processes.serving import current_request_id as request
stdio.install(PIPE)
"""


def output_of(body: str, *, read: bool = True, after: Path | None = None) -> tuple[list[Unit], bytes]:
    """Run `body` with its output led into a pipe; its units, and what reached the real stdout."""
    reader, writer = os.pipe()
    code = HEAD.replace("PIPE", str(writer)) + textwrap.dedent(body) + "\nstdio.drain(5)\nos._exit(0)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code], pass_fds=(writer,), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    os.close(writer)
    parser, units = FrameParser(), []
    if not read:
        process.wait(150)
    while after is not None and not after.exists() and process.poll() is None:
        time.sleep(0.01)
    while data := os.read(reader, 65536):
        units += parser.feed(data)
    units += parser.finish()
    os.close(reader)
    real, _ = process.communicate(timeout=150)
    return units, real


def texts(units: list[Unit]) -> list[tuple[str, str, str]]:
    return [(unit.stream, unit.request_id, unit.text) for unit in units]


def test_lines_carry_the_request_and_the_stream() -> None:
    units, real = output_of("""
        print("one", 1)
        request.set("req-7")
        print("two")
        logging.info("three")
        sys.stderr.write("four\\n")
        print("five\\nsix")
    """)
    assert texts(units) == [
        ("stdout", "-", "one 1"),
        ("stdout", "req-7", "two"),
        ("stderr", "req-7", "three"),
        ("stderr", "req-7", "four"),
        ("stdout", "req-7", "five\nsix"),
    ]
    assert real == b""


def test_tracebacks_stay_whole_and_the_real_descriptors_lead_into_the_pipe() -> None:
    units, _ = output_of("""
        try:
            1 / 0
        except ZeroDivisionError:
            traceback.print_exc()
            logging.exception("went wrong")
        subprocess.run(["echo", "from a child"])
        os.write(2, b"from C")
    """)
    first, second, child, raw = texts(units)
    assert first[2].startswith("Traceback") and first[2].endswith("ZeroDivisionError: division by zero")
    assert second[2].startswith("went wrong\nTraceback")
    assert child == ("raw", "-", "from a child")
    assert raw == ("raw", "-", "from C")


def test_an_unfinished_line_comes_out_at_the_end_and_long_ones_in_one_piece() -> None:
    units, _ = output_of("""
        print("x" * 20000)
        sys.stdout.write("no newline")
    """)
    assert [len(unit.text) for unit in units] == [20000, 10]


def test_pieces_of_two_threads_do_not_mix() -> None:
    units, _ = output_of("""
        def talk(word):
            for _ in range(200):
                print(word, word, word)
        threads = [threading.Thread(target=talk, args=(word,)) for word in ("ping", "pong")]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """)
    assert sorted(unit.text for unit in units) == ["ping ping ping"] * 200 + ["pong pong pong"] * 200


def test_a_full_pipe_never_blocks_and_says_how_many_lines_were_dropped() -> None:
    units, _ = output_of(
        """
        for number in range(40000):
            print("line", number)
        os._exit(0)
        """,
        read=False,
    )
    numbers = [int(unit.text.split()[1]) for unit in units if unit.text.startswith("line")]
    assert numbers == list(range(len(numbers)))  # what the pipe held; the rest was never asked for


def test_dropped_lines_are_announced_where_they_are_missing() -> None:
    units, _ = output_of(
        """
        for number in range(40000):
            print("line", number)
        lost = stdio._sink.lost
        os.set_blocking(PIPE, True)
        stdio.drain(20)
        print("lost", lost)
        """.replace("PIPE", "1"),
    )
    kept = [unit for unit in units if unit.text.startswith("line ")]
    lost = int(units[-1].text.split()[1])
    assert sum(unit.dropped for unit in units) == lost
    assert len(kept) + lost == 40000
    number = 0
    for unit in units[:-1]:
        if unit.dropped:
            number += unit.dropped
        else:
            assert unit.text == f"line {number}"
            number += 1


def test_a_forked_child_does_not_repeat_its_parents_lines() -> None:
    units, _ = output_of("""
        sys.stdout.write("begun ")
        pid = os.fork()
        if not pid:
            print("child")
            stdio.drain()
            os._exit(0)
        os.waitpid(pid, 0)
        print("parent")
    """)
    assert [unit.text for unit in units] == ["begun ", "child", "parent"]


def test_the_stream_is_a_good_text_stream() -> None:
    units, _ = output_of("""
        sys.stdout.buffer.write(b"bytes\\n")
        sys.stdout.reconfigure(line_buffering=True)
        sys.stdout.writelines(["a\\n", "b\\n"])
        print(sys.stdout.fileno(), sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.writable())
        import io
        wrapped = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
        wrapped.write("wrapped\\n"); wrapped.flush()
        print("\\udcff")
    """)
    assert [unit.text for unit in units] == [
        "bytes", "a", "b", "1 False utf-8 True", "wrapped", "\\udcff",
    ]  # fmt: skip


payloads = st.lists(st.tuples(st.sampled_from("OE"), st.sampled_from(["-", "r1"]), st.binary(max_size=9000)))


@given(payloads, st.lists(st.integers(1, 5000), min_size=1))
def test_any_split_of_the_bytes_gives_the_same_units(
    said: list[tuple[str, str, bytes]], sizes: list[int]
) -> None:
    stream = b"".join(frame for kind, ident, data in said for frame in stdio.frames(kind, ident, data))
    parser, units, position = FrameParser(), [], 0
    turn = 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        units += parser.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    units += parser.finish()
    names = {"O": "stdout", "E": "stderr"}
    expected = [(names[k], i, d.decode("utf-8", "backslashreplace").removesuffix("\n")) for k, i, d in said]
    assert texts(units) == expected


@pytest.mark.parametrize("first, last", [("START", "END"), ("FC Invoke Start", "FC Invoke End")])
def test_raw_output_is_that_of_the_one_invocation_that_runs(first: str, last: str) -> None:
    def said(kind: str, name: str, text: str) -> bytes:
        return b"".join(stdio.frames(kind, name, text.encode()))

    begin, other = (said("O", name, f"{first} RequestId: {name} Version: 1\n") for name in ("a", "b"))
    end = said("O", "a", f"{last} RequestId: a\nREPORT RequestId: a\n")
    record = said("I", "b", "{}")
    fake = said("O", "a", f"{first} RequestId: c\n")
    data = b"".join([b"0", begin, b"1\n", fake, b"2", other, b"3\n", end, b"4\n", record, b"5", begin, b"6"])
    parser = FrameParser()
    raw = [unit for unit in [*parser.feed(data), *parser.finish()] if unit.stream == "raw"]
    owners = [("-", "0"), ("a", "1"), ("a", "2"), ("-", "3"), ("b", "4"), ("-", "5"), ("a", "6")]
    assert [(unit.request_id, unit.text) for unit in raw] == owners


@given(st.binary(max_size=300))
def test_raw_garbage_is_never_lost_or_fatal(data: bytes) -> None:
    parser = FrameParser()
    for byte in data:
        parser.feed(bytes([byte]))
    parser.finish()


def test_who_is_kept_waits_a_little_and_tells_once_what_was_lost(tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    units, _ = output_of(
        f"""
        stdio.PATIENCE_S = 0.3
        stdio.be_patient()
        for number in range(60000):
            print("line", number)
        open({str(printed)!r}, "w").close()
        stdio.conclude("-", b"END\\n", b"{{}}")
        """,
        after=printed,
    )
    shown = [unit for unit in units if unit.stream != "record"]
    assert shown[-1].text == "END"
    notices = [unit for unit in units if unit.dropped]
    assert len(notices) == 1 and shown.index(notices[0]) == len(shown) - 2
    assert shown[-3].text == "line 59999"
    assert notices[0].dropped + sum(unit.text.startswith("line") for unit in units) == 60000
