"""The parts that measure deployed functions: their arithmetic, and what their client puts on the wire."""

from __future__ import annotations

import importlib
import io
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from snapfork.runner.bench import fresh, hammer
from snapfork.runner.bench.deployed import FC, LAMBDA, NATIVE, Signer, plain, zipped
from snapfork.runner.bench.results import Part
from snapfork.runner.errors import UserError
from snapfork.runner.faces.exchange import Head
from snapfork.runner.faces.signing import open_claim
from snapfork.runner.registry.model import Key

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
KEY = Key("SFKEY", "secret")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def part(name: str) -> Any:
    return importlib.import_module(f"parts.{name}")


class Keys:
    def get(self, id: str) -> Key | None:
        return KEY if id == KEY.id else None


def judged(wire: bytes) -> Key:
    """The key that signed a request, by the runner's own judgement."""
    import hashlib

    head, _, body = wire.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.split(b" ")
    path, _, query = target.partition(b"?")
    pairs = [line.split(b": ", 1) for line in lines]
    asked = Head(method.decode(), path, query, [(name.lower(), value) for name, value in pairs])
    return open_claim(asked, Keys(), time.time()).verify(hashlib.sha256(body).hexdigest(), time.time())


@pytest.mark.parametrize("face", [LAMBDA, FC, NATIVE])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_invocations_are_signed_as_the_faces_want_them(face: str, asynchronous: bool) -> None:
    assert judged(Signer(KEY, "127.0.0.1:9000").invoke(face, "shop", b"{}", asynchronous)) is KEY


def test_uploads_are_signed() -> None:
    signer, package = Signer(KEY, "127.0.0.1:9000"), zipped({"a.py": "x = 1\n"})
    assert judged(signer.deploy("shop", package, "a:x")) is KEY
    assert judged(signer.create("shop", package, "a.x")) is KEY


def test_packages_hold_what_they_are_given() -> None:
    with zipfile.ZipFile(io.BytesIO(zipped({"a.py": "x = 1\n", "b/c.py": ""}))) as archive:
        assert archive.read("a.py") == b"x = 1\n"
        assert archive.namelist() == ["a.py", "b/c.py"]


def test_a_plain_request() -> None:
    assert plain("GET", "/x", "a.localhost") == b"GET /x HTTP/1.1\r\nhost: a.localhost\r\n\r\n"
    assert plain("POST", "/x").endswith(b"content-length: 0\r\n\r\n")


def test_a_hammer_spreads_its_requests() -> None:
    moments = hammer.schedule({"status": 2, "invoke": 4})
    assert [what for _, what in moments].count("invoke") == 4
    assert [at for at, _ in moments] == sorted(at for at, _ in moments)
    assert all(0 <= at < 1 for at, _ in moments)


def test_phases_follow_on_one_another() -> None:
    deploy = part("deploy")
    moments = {"begin": (0, 0)}
    for number, (_, end, _side) in enumerate(deploy.MOMENTS, 1):
        moments[end] = (number * 1_000_000, number * 1_000_000)
    assert [ms for _, ms in deploy.phases(moments)] == [1.0] * len(deploy.MOMENTS)
    moments["stored"] = (0, 0)  # over before the one before it: no time of its own
    assert 0.0 in [ms for _, ms in deploy.phases(moments)]
    del moments["stored"]
    with pytest.raises(UserError, match="stored"):
        deploy.phases(moments)


def test_stamps_are_those_of_the_first_call() -> None:
    found = part("deploy").read_stamps("stage: import 5 9\nordered 1 2\nstage: import 20 30\n")
    assert found == {"stage: import": (5, 9), "ordered": (1, 2)}


def test_a_deploy_is_judged_by_the_fresh_interpreter() -> None:
    deploy = part("deploy")
    one = Part("deploy")
    one.row(deploy.NEW, group="flask").samples.append(30.0)
    one.row(deploy.FRESH, group="flask").samples.append(100.0)
    checks = deploy.checks([one])
    assert [(check.figure, check.met) for check in checks[:2]] == [("0.30", True), ("0.30", False)]
    assert checks[2].met is None


def test_served_requests_are_chosen_by_path() -> None:
    text = "/2015-03-31/functions/noop/invocations 1000000 3000000\n/status 1 2\n"
    assert part("invoke").served(text, f"{LAMBDA}/noop/") == [2.0]


def test_the_noise_of_a_percentile_is_what_its_halves_differ_by() -> None:
    hammered = part("hammered")
    assert hammered.noise([1.0] * 100 + [2.0] * 100) == 2.0
    assert hammered.noise([1.0] * 150) is None


def test_hammered_is_judged_within_the_noise() -> None:
    hammered = part("hammered")
    one = Part("hammered")
    one.row(hammered.KEPT, group=hammered.QUIET).samples.extend([1.0] * 100 + [2.0] * 100)
    one.row(hammered.KEPT, group=hammered.HAMMERED).samples.extend([3.5] * 200)
    kept, new = hammered.checks([one])
    assert (kept.figure, kept.met) == ("1.75", True)
    assert new.met is None


def test_a_fresh_interpreter_answers(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("def handler(event, context):\n    return 1\n")
    assert fresh.first_answer("one:handler", str(tmp_path), "event") > 0


def test_a_fresh_interpreter_that_cannot_import_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did not answer") as caught:
        fresh.first_answer("none:handler", str(tmp_path), "event")
    assert "ModuleNotFoundError" in str(caught.value.hint)
