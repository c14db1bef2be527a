"""Deployed units over the desk: built when called for, changed, retired, provisioned, dropped."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from deskpeer import Deployment, Refused
from server import HANG_S, Answer
from snapfork.runner.gateway.sweep import KILL_AFTER_NS
from unitapps import BROKEN, hello, hello_asgi


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("units")) as one:
        yield one


def test_the_first_request_builds_a_unit_and_rides_its_first_fork(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("cold:1", hello("a")))
    assert gateway.status("cold:1")["state"] == "cold"
    answer = gateway.get("/cold/x")
    assert answer.status == 200
    version, pid, mount, path = answer.text.split("|")
    assert (version, mount, path, answer.start) == ("a", "/cold", "/x", "fork")
    # It was forked before the template was warmed up and frozen.
    status = gateway.wait_until("cold:1", lambda now: now["state"] == "ready")
    assert status["interface"] == "wsgi"
    assert int(pid) in [one["pid"] for one in status["instances"]]
    ready = gateway.event("ready", "cold:1")
    assert ready["interface"] == "wsgi" and "import" in ready["stages"]


def test_a_slow_warm_up_does_not_hold_the_first_requests_up(gateway: Deployment) -> None:
    code = hello().replace(
        "    query =", "    if environ.get('HTTP_X_SNAPFORK_WARM_UP'):\n        time.sleep(2)\n    query ="
    )
    gateway.serve(gateway.unit("eager:1", code, overrides={"spares": 0}))
    client = gateway.client()
    first = client.ask("GET", "/eager/")
    second = client.ask("GET", "/eager/")
    assert first.status == second.status == 200
    assert first.text == second.text
    assert gateway.status("eager:1")["state"] == "building"
    # Who needs an instance of his own waits for the template.
    sleeping = gateway.ask_later("unit_wait", unit="eager:1", timeout=50)
    assert gateway.get("/eager/").status == 200
    assert sleeping.get(timeout=150)["ok"]
    gateway.wait_until("eager:1", lambda now: now["state"] == "ready")


def test_nor_does_that_of_an_asgi_app_without_lifespan(gateway: Deployment) -> None:
    code = "import time\n" + hello_asgi().replace(
        "    text =",
        "    if (b'x-snapfork-warm-up', b'1') in scope['headers']:\n        time.sleep(2)\n    text =",
    )
    gateway.serve(gateway.unit("eager-asgi:1", code, overrides={"spares": 0, "lifespan": "off"}))
    client = gateway.client()
    first = client.ask("GET", "/eager-asgi/")
    assert (first.status, first.start) == (200, "fork")
    assert client.ask("GET", "/eager-asgi/").text == first.text
    assert gateway.status("eager-asgi:1")["state"] == "building"
    gateway.event("ready", "eager-asgi:1")
    assert client.ask("GET", "/eager-asgi/").text == first.text
    assert gateway.get("/eager-asgi/").status == 200


def test_whoever_waited_for_a_unit_finds_it_ready_to_be_called(gateway: Deployment) -> None:
    gateway.put(gateway.unit("asked:1", hello()))
    assert gateway.ask("unit_wait", unit="asked:1", timeout=50)["interface"] == "wsgi"
    answer = gateway.direct().ask("GET", "/", None, {"x-snapfork-unit": "asked:1"})
    assert (answer.status, answer.start) == (200, "fork")


def test_waiting_for_a_unit_builds_it(gateway: Deployment) -> None:
    gateway.put(gateway.unit("waited:1", hello_asgi()))
    about = gateway.ask("unit_wait", unit="waited:1", timeout=50)
    assert about["interface"] == "asgi" and about["mode"] == "fork" and about["init_ms"] > 0
    assert gateway.ask("unit_wait", unit="waited:1", timeout=50) == about


STARTED = """
import os
where = 0
async def app(scope, receive, send):
    global where
    if scope["type"] == "lifespan":
        await receive()
        where = os.getpid()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    text = f"{where} {os.getpid()}".encode()
    length = str(len(text)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": text})
"""


def test_start_up_code_runs_once_for_all_instances(gateway: Deployment) -> None:
    # The base has had an event loop: libuv makes its pipe for signals anew in each fork, which is nobody's.
    gateway.put(gateway.unit("started:1", STARTED))
    gateway.ask("unit_wait", unit="started:1", timeout=50)
    answer = gateway.direct().ask("GET", "/", None, {"x-snapfork-unit": "started:1"})
    where, pid = answer.text.split()
    assert where not in ("0", pid)


def test_a_start_that_fails_is_told_with_its_traceback(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("broken:1", BROKEN))
    answer = gateway.get("/broken/")
    assert answer.status == 502
    error = answer.json()["error"]
    assert (error["code"], error["message"]) == ("start_failed", "broken:1 does not start")
    with pytest.raises(Refused) as refused:
        gateway.ask("unit_wait", unit="broken:1", timeout=50)
    assert refused.value.reply["kind"] == "start_failed"
    assert "RuntimeError: no database today" in refused.value.reply["traceback"]
    failed = gateway.event("failed", "broken:1")
    assert "no database today" in failed["sentence"] and "RuntimeError" in failed["traceback"]
    assert gateway.status("broken:1")["state"] == "failed"
    with closing(gateway.direct()) as direct:
        answer = direct.ask("GET", "/", None, {"x-snapfork-unit": "broken:1"})
    assert (answer.status, answer.headers["x-snapfork-error"]) == (502, "start_failed")
    assert "no database today" in answer.json()["error"]["message"]


def test_a_cured_unit_starts(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("cured:1", BROKEN))
    assert gateway.get("/cured/").status == 502
    gateway.put(gateway.unit("cured:1", hello("well"), "2"))
    assert gateway.get("/cured/").text.startswith("well|")


def test_new_code_under_load_loses_no_request(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("moved:1", hello("old")))
    assert gateway.get("/moved/").text.startswith("old|")
    failures: list[str] = []
    seen: set[str] = set()
    stop = threading.Event()

    def call() -> None:
        client = gateway.client()
        while not stop.is_set():
            answer = client.ask("GET", "/moved/")
            if answer.status != 200:
                failures.append(answer.text)
            seen.add(answer.text.partition("|")[0])

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    gateway.put(gateway.unit("moved:1", hello("new"), "2"))
    gateway.event("ready", "moved:1", "2")
    assert gateway.get("/moved/").text.startswith("new|")
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert seen >= {"old"}


def test_new_code_that_fails_leaves_the_old_serving(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("kept:1", hello("good")))
    assert gateway.get("/kept/").status == 200
    gateway.put(gateway.unit("kept:1", BROKEN, "2"))
    assert "no database" in gateway.event("failed", "kept:1", "2")["sentence"]
    assert gateway.get("/kept/").text.startswith("good|")
    status = gateway.status("kept:1")
    assert (status["state"], status["serving"], status["revision"]) == ("ready", "1", "2")
    assert "no database" in status["error"]
    # Even when it has been retired meanwhile: the good one comes back.
    gateway.ask("retire", unit="kept:1")
    assert gateway.get("/kept/").text.startswith("good|")


def test_a_retired_unit_comes_back_by_itself(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("rested:1", hello()))
    pid = int(gateway.get("/rested/").text.split("|")[1])
    gateway.ask("retire", unit="rested:1")
    gateway.event("retired", "rested:1")
    status = gateway.wait_until("rested:1", lambda now: not now["instances"])
    assert status["state"] == "cold"
    assert gateway.settled(lambda: os.path.exists(f"/proc/{pid}"), 0.5) is False
    answer = gateway.get("/rested/")
    assert answer.status == 200 and answer.start == "fork"


def test_a_request_that_runs_is_finished_when_its_unit_is_retired(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("busy:1", hello()))
    gateway.get("/busy/")
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(gateway.get("/busy/?sleep=0.5")))
    thread.start()
    gateway.wait_until("busy:1", lambda now: any(one["state"] == "busy" for one in now["instances"]))
    gateway.ask("retire", unit="busy:1")
    thread.join()
    assert answers[0].status == 200


def test_provisioned_instances_are_there_and_stay(gateway: Deployment) -> None:
    gateway.put(gateway.unit("warm:1", hello(), minimum=2))
    status = gateway.wait_until("warm:1", lambda now: now["ready"] == 2)
    assert status["minimum"] == 2
    victim = status["instances"][0]["pid"]
    os.kill(victim, signal.SIGKILL)
    gateway.wait_until(
        "warm:1", lambda now: now["ready"] == 2 and victim not in [one["pid"] for one in now["instances"]]
    )
    gateway.ask("provision", unit="warm:1", minimum=12)
    gateway.wait_until("warm:1", lambda now: now["ready"] == 12)
    gateway.ask("provision", unit="warm:1", minimum=0)
    gateway.wait_until("warm:1", lambda now: len(now["instances"]) == 0)


def test_a_template_that_is_killed_is_built_again(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("killed:1", hello()))
    pid = int(gateway.get("/killed/").text.split("|")[1])
    gateway.wait_until("killed:1", lambda now: now["state"] == "ready")
    os.kill(_parent(pid), signal.SIGKILL)
    gateway.event("ready", "killed:1")
    gateway.event("ready", "killed:1")
    assert gateway.get("/killed/").status == 200


def test_bases_that_are_killed_are_there_again_when_needed(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("before:1", hello()), gateway.unit("after:1", hello()))
    client = gateway.client()
    assert client.ask("GET", "/before/").status == 200
    bases = [
        pid
        for pid in gateway.processes()
        if b"boot.py" in Path(f"/proc/{pid}/cmdline").read_bytes() and _parent(pid) == gateway.process.pid
    ]
    assert bases
    for pid in bases:
        os.kill(pid, signal.SIGKILL)
    gateway.wait_for("the base template")
    assert client.ask("GET", "/before/").status == 200
    assert gateway.get("/after/").status == 200


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_idle_connections_do_not_keep_a_unit(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("idle:1", hello()))
    client, direct = gateway.client(), gateway.direct()
    assert client.ask("GET", "/idle/").status == 200
    assert direct.ask("GET", "/", None, {"x-snapfork-unit": "idle:1"}).status == 200
    gateway.ask("retire", unit="idle:1")
    gateway.wait_until("idle:1", lambda now: not now["instances"])
    assert client.ask("GET", "/idle/").status == 200
    assert direct.ask("GET", "/", None, {"x-snapfork-unit": "idle:1"}).status == 200


def test_a_hanging_import_does_not_hold_others_up(gateway: Deployment) -> None:
    settings = {"warmup": [], "spares": 0, "timeout": 0.2}
    stuck = gateway.unit("stuck:1", "import time; time.sleep(3600)", overrides=settings)
    gateway.serve(stuck, gateway.unit("fine:1", hello()))
    waiting = gateway.ask_later("unit_wait", unit="stuck:1", timeout=0.3)
    assert gateway.get("/fine/").status == 200
    reply = waiting.get(timeout=150)
    assert not reply["ok"] and "was not up after 0.3 s" in reply["error"]
    gateway.put(drop=("stuck:1",))


def test_dropped_units_are_gone_and_can_come_again(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("gone:1", hello("first")))
    client = gateway.client()
    assert client.ask("GET", "/gone/").text.startswith("first|")
    gateway.put(drop=("gone:1",))
    assert client.ask("GET", "/gone/").status == 503
    gateway.put(gateway.unit("gone:1", hello("second"), "2"))
    assert gateway.get("/gone/").text.startswith("second|")


def test_unknown_units_and_names_without_version_are_refused(gateway: Deployment) -> None:
    for operation in ("unit_wait", "retire", "provision"):
        with pytest.raises(Refused, match="there is no unit 'nobody:1'"):
            gateway.ask(operation, unit="nobody:1", minimum=1)
    with pytest.raises(Refused, match="FUNCTION:VERSION"):
        gateway.put(gateway.unit("nameless", hello()))


def test_messages_of_many_megabytes_pass_both_ways(gateway: Deployment) -> None:
    large = gateway.unit("large:1", hello(), context={"note": "x" * (5 << 20)})
    gateway.put(large)
    assert gateway.status("large:1")["state"] == "cold"
    gateway.put(drop=("large:1",))


def test_what_is_deployed_goes_on_while_the_services_process_starts_again(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("stays:1", hello()))
    client = gateway.client()
    assert client.ask("GET", "/stays/").status == 200
    gateway.kill_services()
    assert client.ask("GET", "/stays/").status == 200
    gateway.take_new_desk()
    assert gateway.status("stays:1")["state"] == "ready"
    gateway.put(gateway.unit("stays:1", hello()))  # the same revision: nothing to do
    assert client.ask("GET", "/stays/").status == 200


def test_the_longest_unused_is_retired_when_templates_take_too_much(tmp_path: Path) -> None:
    with Deployment(tmp_path, template_memory=1) as gateway:
        first, second = (gateway.unit(f"{name}:1", hello()) for name in ("first", "second"))
        gateway.serve(first, second)
        assert gateway.get("/first/").status == 200
        assert gateway.get("/second/").status == 200
        assert gateway.event("retired")["name"] == "first:1"
        assert gateway.status("second:1")["state"] == "ready"
        assert gateway.get("/first/").status == 200
        gateway.event("retired", "second:1")


def test_nothing_is_left_of_units_that_came_and_went(tmp_path: Path) -> None:
    with Deployment(tmp_path) as gateway:

        def round_trip(number: int) -> None:
            names = [f"f{number}-{index}" for index in range(3)]
            gateway.serve(*(gateway.unit(f"{name}:1", hello()) for name in names))
            for name in names:
                assert gateway.get(f"/{name}/").status == 200
            gateway.put(drop=tuple(f"{name}:1" for name in names))
            gateway.route()

        def holdings() -> tuple[int, int, int]:
            pid = gateway.process.pid
            tasks = len(os.listdir(f"/proc/{pid}/task"))
            return len(os.listdir(f"/proc/{pid}/fd")), tasks, len(gateway.processes())

        round_trip(0)
        at_rest = gateway.settled(holdings)
        for number in range(1, 5):
            round_trip(number)
        assert gateway.settled(holdings) == at_rest


def test_pre_stop_has_its_time_after_the_drain_deadline(gateway: Deployment) -> None:
    code = (
        hello()
        + """
def stop(context):
    here = os.path.dirname(__file__)
    open(os.path.join(here, "begun"), "w").close()
    while not os.path.exists(os.path.join(here, "go")):
        time.sleep(0.01)
    open(os.path.join(here, "done"), "w").close()
"""
    )
    settings = {"warmup": [], "spares": 0, "drain_timeout": 0.0}
    wish = {"handler": "app.stop", "timeout": 60}
    unit = gateway.unit("slow-to-go:1", code, overrides=settings, pre_stop=wish)
    gateway.serve(unit)
    assert gateway.get("/slow-to-go/").status == 200
    here = Path(unit.app_dir)
    gateway.ask("retire", unit=unit.name)
    wait_for_file(here / "begun")
    time.sleep((KILL_AFTER_NS / 1e9) + 1)  # which is when an instance without a pre-stop would be killed
    (here / "go").touch()
    wait_for_file(here / "done")
    gateway.wait_until(unit.name, lambda now: not now["instances"])


def wait_for_file(path: Path) -> None:
    deadline = time.monotonic() + HANG_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)
