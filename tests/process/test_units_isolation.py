"""What a deployed function finds around it, and what it does not reach."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deskpeer import Deployment
from prying import PRYING

PROBE = PRYING + """
import json, os, socket, subprocess, sys
def app(environ, start_response):
    wish = json.loads(environ["wsgi.input"].read() or b"{}")
    gateway = wish["gateway"]
    said = {
        "environ": dict(os.environ), "cwd": os.getcwd(), "path": sys.path,
        "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
        "initial": outcome(lambda: open("/proc/%d/environ" % os.getppid()).read()),
        "fds": {fd: os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd")
                if os.path.lexists("/proc/self/fd/" + fd)},
        "heirs": subprocess.run("ls /proc/self/fd", shell=True, close_fds=False, capture_output=True,
                                text=True).stdout.split(),
        "memory": outcome(lambda: open("/proc/%d/mem" % gateway, "rb").close()),
        "its_environ": outcome(lambda: open("/proc/%d/environ" % gateway, "rb").read().close()),
        "its_fds": outcome(lambda: os.listdir("/proc/%d/fd" % gateway) and None),
        "trace": outcome(lambda: trace(gateway)),
        "take": outcome(lambda: take(gateway)),
        "files": {path: outcome(lambda: open(path).close()) for path in wish["files"]},
        "stdout": outcome(lambda: open("/dev/stdout", "w").close()),
        "root_again": outcome(lambda: os.setuid(0)),
    }
    print("said by the function")
    body = json.dumps(said).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


STEADY = """
import time
time.sleep(0.5)  # what starts sooner is not kept
DATA = list(range(1000))
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(DATA[500]).encode()]
"""
LOOK = """
import ctypes, os, sys
# As the same user without root's right to trace everybody (CAP_SYS_PTRACE and CAP_DAC_*).
class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
header, none = Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).syscall(126, ctypes.byref(header), none) == 0
try:
    open("/proc/%s/mem" % sys.argv[1], "rb").read(1)
    print("read")
except OSError as error:
    print(type(error).__name__)
"""


def probe(gateway: Deployment, path: str = "/probe/", files: tuple[str, ...] = ()) -> dict[str, Any]:
    client = gateway.client()
    client.request("POST", path, json.dumps({"gateway": gateway.process.pid, "files": files}))
    response = client.getresponse()
    body = response.read()
    assert response.status == 200, body
    return dict(json.loads(body))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("alone")) as one:
        yield one


def check_descriptors(said: dict[str, Any], gateway: Deployment) -> None:
    """Of the runner there is only what serving needs: control socket, output pipes, life pipe, the client."""
    known = ("socket:", "pipe:", "/dev/null", "/proc/", "/memfd:snapfork-page", "anon_inode:")
    assert all(target.startswith(known) for target in said["fds"].values()), said["fds"]
    held = {
        os.readlink(f"/proc/{gateway.process.pid}/fd/{fd}")
        for fd in os.listdir(f"/proc/{gateway.process.pid}/fd")
        if os.path.lexists(f"/proc/{gateway.process.pid}/fd/{fd}")
    }
    shared = {target for target in said["fds"].values() if target.startswith("socket:")} & held
    assert len(shared) <= 1, f"sockets of the gateway: {shared}"  # the client's connection
    assert set(said["heirs"]) <= {"0", "1", "2", "3"}, said["heirs"]


def test_only_what_is_declared_is_in_its_environment(gateway: Deployment) -> None:
    layer = gateway.directory / "layer"
    layer.mkdir()
    (layer / "layered.py").write_text("HERE = 1")
    overrides = {"warmup": [], "spares": 0, "env": {"MINE": "1"}}
    unit = gateway.unit(
        "probe:1", "import layered\n" + PROBE, overrides=overrides, paths=(str(layer),),
        environment={"PATH": "/bin:/usr/bin", "HOME": "/nowhere", "TZ": "Asia/Tokyo"},
    )  # fmt: skip
    gateway.serve(unit)
    said = probe(gateway)
    environ = dict(said["environ"])
    assert environ == {"PATH": "/bin:/usr/bin", "HOME": "/nowhere", "TZ": "Asia/Tokyo", "MINE": "1"}
    assert said["cwd"] == unit.app_dir
    assert said["path"][:2] == [unit.app_dir, str(layer)]
    assert "RUNNER_SECRET" not in said["initial"]


def test_no_descriptor_of_the_runner_is_in_it(gateway: Deployment) -> None:
    gateway.serve(gateway.unit("probe:1", PROBE, "fds"))
    said = probe(gateway)
    check_descriptors(said, gateway)
    gateway.wait_for("said by the function")


@pytest.mark.parametrize("what", ["gateway", "logs"])
def test_the_runners_processes_are_not_dumpable(gateway: Deployment, what: str) -> None:
    pids = [gateway.process.pid]
    if what == "logs":
        pids = [
            pid
            for pid in gateway.processes()
            if b"snapfork.runner.services.logs" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
    assert pids
    for pid in pids:
        # Whom nobody may dump cannot be read by others of its own user.
        looked = subprocess.run(
            [sys.executable, "-c", LOOK, str(pid)], capture_output=True, text=True, check=False, timeout=150
        )
        assert looked.stdout.strip() == "PermissionError", looked


# -- as root, functions are somebody else -----------------------------------------------------------------


@pytest.fixture(scope="module")
def others() -> Iterator[Deployment]:
    if os.geteuid() != 0:
        pytest.skip("only root can run functions as somebody else")
    directory = Path(tempfile.mkdtemp(prefix="others-"))  # those of pytest are closed to other users
    directory.chmod(0o755)
    nobody = pwd.getpwnam("nobody")
    user = (nobody.pw_uid, nobody.pw_gid, "nobody")
    with Deployment(directory, user=user, keeps_snapshots=True) as one:
        one.nobody = nobody  # type: ignore[attr-defined]
        yield one
    shutil.rmtree(directory)


def _home(gateway: Deployment, nobody: pwd.struct_passwd, name: str) -> str:
    home = gateway.directory / f"home-{name}"
    home.mkdir(mode=0o700)
    shutil.chown(home, nobody.pw_uid, nobody.pw_gid)
    return str(home)


def _as_nobody(gateway: Deployment, name: str, code: str, **members: Any) -> str:
    nobody = gateway.nobody  # type: ignore[attr-defined]
    home = _home(gateway, nobody, name)
    environment = {"PATH": os.defpath, "HOME": home}
    gateway.serve(gateway.unit(f"{name}:1", code, environment=environment, **members))
    return home


@pytest.mark.parametrize("mode", ["fork", "spawn"])
def test_as_root_a_function_is_nobody(others: Deployment, mode: str) -> None:
    keys = others.directory / "data" / "keys"
    keys.write_text("secret")
    keys.chmod(0o600)
    spawning = (
        "import threading, time; threading.Thread(target=time.sleep, args=[1e6], daemon=True).start()\n"
    )
    _as_nobody(others, f"probe-{mode}", (spawning if mode == "spawn" else "") + PROBE)
    said = probe(others, f"/probe-{mode}/", (str(keys), os.path.join(others.runtime, "invoke.sock")))
    assert others.status(f"probe-{mode}:1")["mode"] == mode
    uid, gid = others.nobody.pw_uid, others.nobody.pw_gid  # type: ignore[attr-defined]
    assert said["ids"] == [[uid] * 3, [gid] * 3, []]
    refused = {"memory", "its_environ", "its_fds", "trace", "take", "root_again"}
    assert {name: said[name] for name in refused} == dict.fromkeys(refused, "PermissionError")
    assert set(said["files"].values()) == {"PermissionError"}
    assert said["stdout"] == "done"
    check_descriptors(said, others)


@pytest.mark.timeout(300)
def test_as_nobody_snapshots_are_kept_and_restored(others: Deployment) -> None:
    home = _as_nobody(others, "kept", STEADY)
    assert others.get("/kept/").text == "500"
    others.wait_for("a snapshot is kept", within=240)  # it is made behind everything else on the machine
    assert list(Path(home, ".local/share/snapfork/snapshots/objects").iterdir())
    others.ask("retire", unit="kept:1")
    assert others.get("/kept/").text == "500"
    pid = others.status("kept:1")["instances"][0]["pid"]
    uids = re.search(r"Uid:\s+(.*)", Path(f"/proc/{pid}/status").read_text())
    assert uids is not None
    assert set(uids[1].split()) == {str(others.nobody.pw_uid)}  # type: ignore[attr-defined]
    assert others.status("kept:1")["restored"]
    assert not Path(others.directory, "data", "snapshots").exists()
