"""The services process is killed with -9 under load: nothing that was acknowledged is lost, all goes on."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from deployed import serve, until
from server import Serve
from test_deployed_fc import Fc
from test_deployed_lambda import Lambda

pytestmark = pytest.mark.once

CLIENTS = 4
COUNTING = """
import os

def handler(event, context):
    path = os.path.join(os.environ["HOME"], "seen")  # all instances of a function have one
    if event.get("ask"):
        return open(path).read().split() if os.path.exists(path) else []
    with open(path, "a") as file:
        file.write(context.aws_request_id + "\\n")
"""
WEB = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]
"""
WAITING = """
import os, time

def handler(event, context):
    home = os.environ["HOME"]
    if event == b'"go"':
        open(os.path.join(home, "go"), "w").close()
        return b""
    while not os.path.exists(os.path.join(home, "go")):
        time.sleep(0.01)
    return b"done"
"""


def services(server: Serve) -> int | None:
    """The pid of its services process; None while there is none."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            parent = int(Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1])
            if parent == server.process.pid:
                command = Path("/proc", entry, "cmdline").read_bytes()
                if b"snapfork.runner.services.main" in command:
                    return int(entry)
        except OSError:
            continue  # it ended meanwhile
    return None


def kill_services(server: Serve) -> None:
    """kill -9, and wait until another one answers."""
    pid = until(lambda: services(server))
    os.kill(pid, 9)
    until(lambda: services(server) not in (None, pid))
    until(lambda: server.function("counts:LATEST"))


def served(aws: Lambda, name: str) -> str:
    """The host of a new web function that anybody may call."""
    aws.create(name, {"main.py": WEB}, Handler="main.app")
    url = aws.boto.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    return urlsplit(url).netloc


class Load:
    """Clients that invoke asynchronously until they are stopped. acknowledged: request ids; failed: calls
    that nobody answered, whose invocations may run or not."""

    def __init__(self, aws: Lambda) -> None:
        self.aws = aws
        self.acknowledged: list[str] = []
        self.failed = 0
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._client) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def _client(self) -> None:
        while not self.over.is_set():
            try:
                sent = self.aws.boto.invoke(FunctionName="counts", InvocationType="Event", Payload=b"{}")
            except (BotoCoreError, ClientError):
                self.failed += 1
                self.over.wait(0.02)
            else:
                self.acknowledged.append(sent["ResponseMetadata"]["RequestId"])

    def goes_on(self, more: int) -> None:
        """Wait until so many more have been acknowledged."""
        wanted = len(self.acknowledged) + more
        until(lambda: len(self.acknowledged) >= wanted)

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_killed_while_clients_invoke(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serve(data) as server:
        aws = Lambda(server, data)
        aws.create("counts", {"main.py": COUNTING})
        web = served(aws, "web")
        aws.invoke("counts", {"ask": 1})
        load = Load(aws)
        try:
            for _ in range(3):
                load.goes_on(40)
                kill_services(server)
            load.goes_on(40)
        finally:
            load.stop()

        def left() -> bool:
            seen = Counter(aws.invoke("counts", {"ask": 1})[0])
            return not set(load.acknowledged) - seen.keys()

        until(left)
        assert load.failed
        # What was served goes on being served, and changes are followed.
        assert server.get("/x", {"Host": web}).text == "/x"
        assert server.get("/y", {"Host": served(aws, "another")}).text == "/y"
        aws.boto.delete_function(FunctionName="web")
        until(lambda: server.get("/x", {"Host": web}).status == 404)


def test_what_waited_runs_at_once_after_a_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serve(data) as server:
        fc = Fc(server, data)
        fc.create("waits", {"index.py": WAITING}, timeout=60)
        fc.keep_tasks("waits")
        fc.invoke("waits", {"a": 1}, kind="Async", task="t")
        fc.task("waits", "t", "Running")
        server.kill()
        server.wait_until_nothing_is_left()
    with serve(data) as server:
        fc = Fc(server, data)
        fc.task("waits", "t", "Running")
        fc.invoke("waits", "go")
        task = fc.task("waits", "t", "Succeeded", "Failed")
        assert task.status == "Succeeded"
        # The gateway knew its unit: it was not refused and backed off.
        assert [event.status for event in task.events].count("Running") == 2
