"""What happens to requests while instances, templates and versions come and go."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from load import Load, read_answer
from server import Serve

APPS = Path(__file__).resolve().parents[1] / "apps"
INTERFACES = ["wsgi_app:app", "asgi_app:app"]
Soak = Callable[[int, int], int]
Record = Callable[[str, object], None]


def live(function: dict[str, Any]) -> list[int]:
    return [one["pid"] for one in function["instances"] if one["pid"]]


@pytest.mark.parametrize("target", INTERFACES)
def test_nothing_is_lost_by_reloads_reclaims_and_dead_templates(
    target: str, soak: Soak, record: Record
) -> None:
    with Serve(target, "--no-access-log", "--idle-timeout=0.2", app_dir=APPS) as server, Load(server) as load:
        for _ in range(soak(3, 30)):
            load.wait_for_more(200)
            before = server.function()["generation"]
            os.kill(server.process.pid, signal.SIGHUP)
            swapped = server.wait_until(lambda one, old=before: one["generation"] > old)  # type: ignore[misc]
            load.wait_for_more(200)
            template = server.wait_until(lambda one: one["template"]["pid"])["template"]["pid"]
            assert swapped["template"]["state"] in ("ready", "rebuilding", "building")
            os.kill(template, signal.SIGKILL)
            server.wait_until(lambda one, old=template: one["template"]["pid"] not in (None, old))  # type: ignore[misc]
        load.finish()
        deaths = server.function()["deaths"]
        record(f"{target}: reloads, killed templates: answers", dict(load.counts))
        assert set(+load.counts) == {"ok"}
        assert set(deaths) <= {"left"}


@pytest.mark.parametrize(
    ("target", "concurrency"), [("wsgi_app:app", 1), ("wsgi_app:app", 2), ("asgi_app:app", 2)]
)
def test_instances_come_for_bursts_and_go_and_nothing_is_lost(
    target: str, concurrency: int, soak: Soak, record: Record
) -> None:
    words = ("--no-access-log", "--idle-timeout=0.05", "--spares=0", "--max-instances=8")
    answers: Counter[str] = Counter()
    with (
        Serve(target, *words, f"--concurrency={concurrency}", app_dir=APPS) as server,
        Load(server, 2) as steady,
    ):
        for _ in range(soak(3, 60)):
            with Load(server, 14, "/pause", bodies=True) as burst:
                server.wait_until(lambda one: len(one["instances"]) > 5)
                burst.wait_for_more(100)
            answers += burst.counts
            server.wait_until(lambda one: len(one["instances"]) <= 3)
            steady.wait_for_more(20)
        steady.finish()
        answers += steady.counts
        deaths = server.function()["deaths"]
        record(f"{target}: {sum(deaths.values())} idle instances went: answers", dict(answers))
        assert set(+answers) == {"ok"}
        assert set(deaths) == {"left"}


def test_reload_on_a_changed_file_loses_nothing(tmp_path: Path, soak: Soak, record: Record) -> None:
    text = (APPS / "wsgi_app.py").read_text()
    (tmp_path / "shop.py").write_text(text)
    with (
        Serve("shop:app", "--reload", "--no-access-log", app_dir=tmp_path) as server,
        Load(server) as load,
    ):
        for number in range(soak(2, 20)):
            generation = server.function()["generation"]
            (tmp_path / "shop.py").write_text(f"{text}\n# {number}\n")
            server.wait_until(lambda one, old=generation: one["generation"] > old)  # type: ignore[misc]
            load.wait_for_more(100)
        load.finish()
        record("--reload under load: answers", dict(load.counts))
        assert set(+load.counts) == {"ok"}


@pytest.mark.parametrize("how", ["frozen", "frozen, bodies", "running, bodies"])
@pytest.mark.parametrize("target", INTERFACES)
def test_killed_instances_cost_at_most_what_they_had_in_progress(
    target: str, how: str, soak: Soak, record: Record
) -> None:
    """Frozen before it is killed, an instance can be asked what it has; running, it surprises the gateway."""
    kills = soak(20, 100)
    bodies = how.endswith("bodies")
    choice = random.Random(7)
    words = ("--no-access-log", "--max-instances=4")
    in_progress = killed = 0
    with Serve(target, *words, app_dir=APPS) as server, Load(server, 16, "/pause", bodies=bodies) as load:
        while killed < kills:
            load.wait_for_more(choice.randint(1, 60))
            pids = live(server.function())
            if not pids:
                continue
            pid = choice.choice(pids)
            if how.startswith("frozen"):
                if not freeze(pid):
                    continue
                # One request more may have been read that it had no time to note.
                frozen = [one for one in server.function()["instances"] if one["pid"] == pid]
                in_progress += sum(one["busy"] + 1 for one in frozen)
            else:
                in_progress += 16
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        load.finish()
        function = server.function()
        record(f"{target}: {kills} killed ({how}) with {in_progress} requests", dict(load.counts))
        assert set(+load.counts) <= {"ok", "502"}
        assert load.counts["502"] <= (kills if target.startswith("wsgi") else in_progress)
        assert load.counts["502"] == function["gateway_errors"].get("502", 0)
        assert function["deaths"]["signal 9"] <= kills


@pytest.mark.parametrize("target", INTERFACES)
def test_killed_instances_behind_a_unix_socket(
    target: str, tmp_path: Path, soak: Soak, record: Record
) -> None:
    """The kernel counts no bytes there: in doubt a connection is ended, never answered twice."""
    kills = soak(20, 100)
    choice = random.Random(7)
    words = ("--no-access-log", "--max-instances=4", f"--uds={tmp_path / 'http'}")
    in_progress = killed = 0
    with Serve(target, *words, app_dir=APPS) as server, Load(server, 16, "/pause", bodies=True) as load:
        while killed < kills:
            load.wait_for_more(choice.randint(1, 60))
            pids = live(server.function())
            pid = choice.choice(pids) if pids else 0
            if pid and freeze(pid):
                in_progress += sum(
                    one["loans"] for one in server.function()["instances"] if one["pid"] == pid
                )
                os.kill(pid, signal.SIGKILL)
                killed += 1
        load.finish()
        record(f"{target}: {kills} killed (Unix socket) with {in_progress} connections", dict(load.counts))
        assert set(+load.counts) <= {"ok", "502", "lost", "reset"}
        assert load.counts.total() - load.counts["ok"] <= in_progress


def freeze(pid: int) -> bool:
    """Stop a process; True when it stands still, False when it was gone first."""
    try:
        os.kill(pid, signal.SIGSTOP)
        while (state := Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) != "T":
            if state in "ZX":
                return False
    except (ProcessLookupError, FileNotFoundError):
        return False
    return True


@pytest.mark.parametrize("target", INTERFACES)
def test_a_signal_to_the_whole_group_is_a_graceful_stop(target: str, record: Record) -> None:
    with Serve(target, "--no-access-log", app_dir=APPS) as server, Load(server, 16, "/pause") as load:
        load.wait_for_more(100)
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(50) == 0
        load.finish()
        record(f"{target}: Ctrl-C with 16 requests under way: answers", dict(load.counts))
        assert set(+load.counts) <= {"ok", "refused", "lost", "reset"}
        # A client may send into a connection that is just being ended; more than that one is a loss.
        for counts in load.per_client:
            assert counts["lost"] + counts["reset"] <= 1


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("target", INTERFACES)
def test_a_stop_answers_what_was_sent_and_says_which_answer_is_the_last(
    target: str, concurrency: int
) -> None:
    with Serve(target, f"--concurrency={concurrency}", app_dir=APPS) as server:
        alone, followed = server.raw(), server.raw()
        slow = b"GET /slow?seconds=1 HTTP/1.1\r\nHost: a.example\r\n\r\n"
        alone.sendall(slow)
        followed.sendall(slow + b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n" * 2)
        server.wait_until(lambda one: sum(i["requests"] for i in one["instances"]) == 2)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("stopping: finishing what runs")
        for sock, count in ((alone, 1), (followed, 3)):
            stream = sock.makefile("rb")
            answers = [read_answer(stream) for _ in range(count)]
            assert [answer[0] for answer in answers if answer] == [200] * count
            said = [answer[1].get(b"connection", b"").lower() for answer in answers if answer]
            assert said == [b""] * (count - 1) + [b"close"]
            assert stream.read() == b""
            sock.close()
        assert server.process.wait(50) == 0


@pytest.mark.parametrize("target", INTERFACES)
def test_after_kill_9_of_the_gateway_nothing_is_left(target: str) -> None:
    with Serve(target, "--no-access-log", app_dir=APPS) as server, Load(server, 8, "/pause") as load:
        load.wait_for_more(50)
        assert len(server.processes()) > 4
        server.kill()
        server.wait_until_nothing_is_left()


def resources(server: Serve) -> dict[str, int]:
    """What the runner holds: its processes, and all their descriptors and resident memory (KB) together."""
    pids = server.processes()
    resident = 0
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        resident += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    descriptors = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
    return {"processes": len(pids), "descriptors": descriptors, "resident KB": resident}


def at_rest(server: Serve) -> dict[str, int]:
    """The same at rest: what the next start needs is made a moment after a start."""
    last = resources(server)
    while True:
        time.sleep(0.1)
        now = resources(server)
        if now["descriptors"] == last["descriptors"]:
            return now
        last = now


@pytest.mark.parametrize("target", INTERFACES)
def test_connections_and_instances_leave_nothing_behind(target: str, soak: Soak, record: Record) -> None:
    instances = soak(60, 1000)
    connections = soak(600, 10_000)

    def settled(function: dict[str, Any]) -> bool:
        return [one["state"] for one in function["instances"]] == ["spare"]

    each = max(1, connections // instances)
    words = ("--no-access-log", f"--max-requests={each}", "--idle-timeout=0.1", "--concurrency=1")
    with Serve(target, *words, app_dir=APPS) as server:

        def spend(count: int) -> None:
            for _ in range(count):
                assert server.get("/").status == 200
            server.wait_until(settled)

        spend(max(20, connections // 10))
        before = at_rest(server)
        spend(connections)
        # What the last requests held, the runner closes a moment after the client has its answer.
        server.wait_until(lambda _: resources(server)["descriptors"] <= before["descriptors"])
        after = resources(server)
        record(f"{target}: before and after {connections} connections", (before, after))
        assert server.function()["starts"]["fork"] + server.function()["starts"]["spare"] >= instances
        assert after["processes"] == before["processes"]
        assert after["resident KB"] <= before["resident KB"] * 1.05 + 1024
