"""Doctor's report about small apps, each built in a process of its own as for serving."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from snapfork.runner.cli.examination import Broken, Report, examine
from snapfork.runner.serve_config import FunctionConfig, Interpreter

PLAIN = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


def look(tmp_path: Path, source: str, **overrides: object) -> Report:
    (tmp_path / "hello.py").write_text(source)
    python = Interpreter(sys.executable, "3", "the test's own")
    return examine(FunctionConfig("hello", "hello:app", str(tmp_path), overrides, [(None, "")], python))


def kinds(report: Report, severity: str) -> set[str]:
    return {finding["kind"] for finding in report.findings if finding["severity"] == severity}


def test_a_plain_app_can_be_forked(tmp_path: Path) -> None:
    report = look(tmp_path, PLAIN)
    assert (report.mode, report.interface) == ("fork", "wsgi")
    assert kinds(report, "spawn") == set()
    assert {"import", "warm up", "audit", "freeze"} <= {stage["name"] for stage in report.stages}
    assert report.memory_bytes > 1_000_000
    assert report.warmup[0]["status"] == 200


def test_a_thread_at_import_is_named_with_its_line_and_cure(tmp_path: Path) -> None:
    source = (
        PLAIN
        + "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n"
    )
    report = look(tmp_path, source)
    assert report.mode == "spawn"
    (thread,) = [finding for finding in report.findings if finding["kind"] == "thread"]
    assert thread["origin"].endswith(f"hello.py:{len(source.splitlines())}")
    assert "after_fork" in thread["cure"]


def test_state_and_secrets_are_noticed(tmp_path: Path) -> None:
    source = "import secrets\nKEY = secrets.token_hex()\nSEEN = []\n" + PLAIN.replace(
        "    start", "    SEEN.append(1)\n    start"
    )
    noticed = kinds(look(tmp_path, source), "note")
    assert {"random value drawn at import", "state kept in the process"} <= noticed


def test_what_only_a_warm_up_request_leaves_is_told_and_skipped(tmp_path: Path) -> None:
    source = "import threading, time\n" + PLAIN.replace(
        "    start", "    threading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n    start"
    )
    report = look(tmp_path, source)
    assert report.mode == "fork"
    assert report.skipped_warmup == [0]
    assert [one["request"] for one in report.findings if one["kind"] == "thread"] == [0]


def test_the_apps_own_prints_do_not_reach_the_report(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    look(tmp_path, PLAIN + "print('hello from import')\n")
    out, err = capfd.readouterr()
    assert out == ""
    assert "hello from import" in err


def test_an_app_that_does_not_start_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Broken) as caught:
        look(tmp_path, PLAIN + "raise RuntimeError('no database')\n")
    assert "no database" in str(caught.value) or "no database" in str(caught.value.traceback)


def test_an_app_that_ends_its_process_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="ended by itself"):
        look(tmp_path, "import os\nos._exit(3)\n")
