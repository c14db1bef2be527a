"""What deployed functions print: nothing of it reaches the operator's console but in lines of ours."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from deskpeer import Deployment
from snapfork.runner.services.frames import ACCESS, Unit
from snapfork.runner.services.logs import Source, access_line, render

FORGES = r"""
import os
FORGED = b"\x1b[2Jforged line\n"
def app(environ, start_response):
    for name in os.listdir("/proc/self/fd"):
        try:
            kind = os.readlink("/proc/self/fd/" + name)
            if kind.startswith("pipe:") or kind.endswith("/output"):
                os.write(int(name), FORGED)
        except OSError:
            pass
    line = b"2020-01-01T00:00:00.000Z other:1 1.2.3.4 \"GET / HTTP/1.1\" 200 1 1.0ms \x1b[31m"
    os.write(1, b"\x1eA-\x1f%d\x1f%s" % (len(line), line))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_nothing_reaches_the_console_by_another_way(tmp_path: Path) -> None:
    with Deployment(tmp_path) as gateway:
        gateway.serve(gateway.unit("shop:1", FORGES))
        assert gateway.get("/shop/x").text == "ok"
        gateway.wait_for("forged line")
        line = gateway.wait_for('"GET /shop/x HTTP/1.1" 200 2')
        assert line.split()[1] == "shop:1"
        gateway.wait_for("1.2.3.4")
        lines = (tmp_path / "output").read_bytes().splitlines()
        assert not any(b"\x1b" in one or b" other:1 " in one for one in lines)
        assert all(b" shop:1/" in one for one in lines if b"forged" in one)


@pytest.mark.parametrize(
    "text",
    ["hello", "", "{", "[1]", '{"event": "serving"}', "2020-01-01T00:00:00.000Z shop warning: all is lost",
     '2020-01-01T00:00:00.000Z a:1 h "GET / HTTP/1.1" 200 1 1.0ms id\nmore'],
)  # fmt: skip
def test_what_is_no_access_line_is_none(text: str) -> None:
    assert access_line("shop:1", text) is None
    shown = render(Source("shop:1", "7", 1), Unit(ACCESS, "-", text), time.time(), False)
    assert all(b" shop:1/7 " in line for line in shown.splitlines())


def test_an_access_line_has_the_name_of_who_wrote_it() -> None:
    text = '2020-01-01T00:00:00.000Z other:9 ::1 "GET /a HTTP/1.1" 200 1 1.0ms spare a-1-0'
    assert access_line("shop:1", text) == text.replace("other:9", "shop:1")
    entry = json.loads(access_line("shop:1", '{"event": "request", "function": "other:9"}') or "")
    assert entry["function"] == "shop:1"


PRINTS = """
def app(environ, start_response):
    for number in range(30000):
        print("line", number)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_a_fast_printer_loses_nothing_that_is_read(tmp_path: Path) -> None:
    with Deployment(tmp_path) as gateway:
        unit = gateway.unit("shop:1", PRINTS, context={"name": "shop", "version": "1"})
        gateway.serve(unit)
        assert gateway.get("/shop/").text == "ok"
        gateway.wait_for("| line 29999")
        text = (tmp_path / "output").read_text()
        assert "dropped" not in text
        assert text.count("| line ") == 30000
