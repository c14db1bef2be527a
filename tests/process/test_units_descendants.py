"""What an instance has started ends with it, however it has been started."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from deskpeer import Deployment
from server import HANG_S

APP = '''
import os, subprocess, sys, time

DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
for fd in (0, 1, 2): os.close(fd)
with open(sys.argv[1] + ".new", "w") as file: file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(333)
"""

def app(environ, start_response):
    how, path = environ["PATH_INFO"].strip("/"), environ["QUERY_STRING"]
    if how == "daemon":
        subprocess.run([sys.executable, "-c", DAEMON, path])
        while not os.path.exists(path): time.sleep(0.01)
        pid = open(path).read()
    elif how in ("popen", "setsid"):
        pid = str(subprocess.Popen(["sleep", "333"], start_new_session=how == "setsid").pid)
    elif how == "parent":
        pid = str(os.getppid())
    elif how == "die":
        os.kill(os.getpid(), 9)
    elif how == "hang":
        time.sleep(600)
    start_response("200 OK", [("Content-Length", str(len(pid)))])
    return [pid.encode()]
'''
WAYS = ("popen", "setsid", "daemon")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_dead(pid: int) -> None:
    deadline = time.monotonic() + HANG_S
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} lives on"
        time.sleep(0.02)


def begin(gateway: Deployment, tmp_path: Path, **overrides: object) -> list[int]:
    """A process of each kind, started by the one instance."""
    given = {"warmup": [], "spares": 0, "max_instances": 1, **overrides}
    gateway.serve(gateway.unit("shop:1", APP, overrides=given))
    pids = [int(gateway.get(f"/shop/{way}?{tmp_path}/pid").text) for way in WAYS]
    time.sleep(0.5)  # longer than the gateway looks for strays
    assert all(map(is_alive, pids)), "they live as long as their instance"
    return pids


@pytest.mark.parametrize("end", ["die", "hang"])
def test_they_end_with_a_dead_and_with_a_killed_instance(tmp_path: Path, end: str) -> None:
    with Deployment(tmp_path) as gateway:
        pids = begin(gateway, tmp_path, timeout=1.0 if end == "hang" else 30.0)
        assert gateway.get(f"/shop/{end}").status in (502, 504)
        for pid in pids:
            wait_until_dead(pid)
        assert gateway.get("/shop/popen").status == 200


def test_nothing_is_left_after_a_stop(tmp_path: Path) -> None:
    with Deployment(tmp_path) as gateway:
        pids = begin(gateway, tmp_path)
        gateway.stop()
        assert not any(map(is_alive, pids))


def test_nothing_is_left_after_a_killed_gateway(tmp_path: Path) -> None:
    with Deployment(tmp_path) as gateway:
        pids = begin(gateway, tmp_path)
        os.kill(gateway.process.pid, 9)
        os.kill(gateway.services, 9)  # the test's stand-in does not look for its gateway
        for pid in pids:
            wait_until_dead(pid)


def test_it_is_known_how_an_instance_died_whose_template_had_died_before(tmp_path: Path) -> None:
    with Deployment(tmp_path) as gateway:
        begin(gateway, tmp_path)
        template = int(gateway.get(f"/shop/parent?{tmp_path}/pid").text)
        os.kill(template, 9)
        wait_until_dead(template)
        assert gateway.get("/shop/die").status == 502
        deadline = time.monotonic() + HANG_S
        while not (deaths := gateway.ask("status")["functions"][0]["deaths"]):
            assert time.monotonic() < deadline, "nobody collected it"
            time.sleep(0.02)
        assert deaths == {"signal 9": 1}
