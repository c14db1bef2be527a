"""Code that is deployed as it is: the benchmark suite's bodies, apps with own packages, the thumbnails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from deployed import serve, until
from fc_served import zipped
from PIL import Image
from server import Serve

ROOT = Path(__file__).resolve().parents[2]
BODIES = ROOT / "benchmarks" / "apps" / "bodies"
NAMES = sorted(path.stem for path in BODIES.glob("*.py") if "\napp = web(" in path.read_text())
ROLE = "arn:aws:iam::000000000000:role/any"
RUNTIME = f"python3.{sys.version_info[1]}"  # the runner's own, with its packages
STAGES = ("schedule", "fetch", "unpack", "start", "initialise", "run")


class Runner:
    """A runner with boto3's client and the command line."""

    def __init__(self, server: Serve, data: Path) -> None:
        self.server = server
        self.data = data
        key = json.loads((data / "keys").read_text())["keys"][0]
        self.boto = boto3.client(
            "lambda",
            endpoint_url=server.wait_for(r"control: (http://\S+)/status")[1],
            region_name="us-east-1",
            aws_access_key_id=key["id"],
            aws_secret_access_key=key["secret"],
            config=Config(retries={"total_max_attempts": 1}, read_timeout=300),
        )

    def create(self, name: str, files: dict[str, str | bytes], handler: str, **more: Any) -> None:
        self.boto.create_function(
            FunctionName=name, Code={"ZipFile": zipped(files)}, Handler=handler, Runtime=RUNTIME, Role=ROLE,
            **{"Timeout": 60, "MemorySize": 1024, **more},
        )  # fmt: skip
        pace = {"Delay": 0.1, "MaxAttempts": 2400}
        self.boto.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=pace)

    def invoke(self, name: str, payload: bytes = b"{}", **more: Any) -> tuple[str, str]:
        """(payload, request id) of a call that succeeds."""
        answer = self.boto.invoke(FunctionName=name, Payload=payload, **more)
        said = answer["Payload"].read().decode()
        assert "FunctionError" not in answer, said
        return said, answer["ResponseMetadata"]["RequestId"]

    def run(self, *words: str) -> Any:
        """What a command prints as JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "snapfork.runner", *words, "--json"],
            env=self.server.environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def say(self, *words: str) -> str:
        """What a command prints for people."""
        done = subprocess.run(
            [sys.executable, "-m", "snapfork.runner", *words],
            env=self.server.environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    data = tmp_path_factory.mktemp("runner") / "data"
    with serve(data) as server:
        yield Runner(server, data)


@pytest.mark.once
@pytest.mark.parametrize("name", NAMES)
def test_a_body_of_the_benchmarks(runner: Runner, name: str) -> None:
    """As it is, by boto3; it answers what it answers in a plain interpreter."""
    script = f"import sys; sys.path.insert(0, {str(BODIES)!r}); import {name}; print({name}.body(), end='')"
    plain = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    files: dict[str, str | bytes] = {
        one: (BODIES / one).read_bytes() for one in (f"{name}.py", "body_web.py", "graphs.py")
    }
    function = name.replace("_", "-")
    runner.create(function, files, f"{name}.app")
    said, request = runner.invoke(function)
    assert said == plain.stdout
    assert runner.server.get(f"/{function}/").status == 403  # functions of Lambda's API are not open there
    (record,) = until(lambda: runner.run("logs", request)["records"])
    stages = record["stages"]
    assert set(stages) <= set(STAGES) and stages["run"] > 0
    assert record["start"] in ("fork", "spare")  # its template was there when the function became active
    assert record["billed"] >= stages["run"] > 0 and record["memory"] > 10
    assert runner.invoke(function)[0] == plain.stdout
    (_, warm) = until(lambda: found if len(found := runner.run("logs", function, "--records")) == 2 else None)
    assert warm["start"] == "warm" and "initialise" not in warm["stages"] and "start" not in warm["stages"]


OLD = {"flask": "3.0.0", "werkzeug": "3.0.1"}
WEB = """
from importlib.metadata import version
from flask import Flask, jsonify, __file__

app = Flask(__name__)

@app.get("/")
def versions():
    return jsonify(flask=version("flask"), werkzeug=version("werkzeug"), file=__file__)

@app.post("/invoke")
def event():
    return versions()
"""


@pytest.mark.timeout(300)
def test_an_app_with_packages_of_its_own(runner: Runner) -> None:
    needs = "".join(f"{name}=={version}\n" for name, version in OLD.items())
    assert all(metadata.version(name) != version for name, version in OLD.items()), "choose other versions"
    runner.create("old", {"app.py": WEB, "requirements.txt": needs}, "app.app")
    runner.create("own", {"app.py": WEB}, "app.app")
    old, own = json.loads(runner.invoke("old")[0]), json.loads(runner.invoke("own")[0])
    assert {name: old[name] for name in OLD} == OLD
    assert {name: own[name] for name in OLD} == {name: metadata.version(name) for name in OLD}
    assert own["file"] != old["file"]


@pytest.mark.timeout(300)
def test_two_versions_of_one_app_with_packages_that_differ_live_at_once(runner: Runner) -> None:
    files: dict[str, str | bytes] = {"app.py": WEB, "requirements.txt": "flask==3.0.0\nwerkzeug==3.0.1\n"}
    runner.create("both", files, "app.app", Publish=True)
    newer = zipped({"app.py": WEB, "requirements.txt": "flask==3.0.3\nwerkzeug==3.0.6\n"})
    runner.boto.update_function_code(FunctionName="both", ZipFile=newer)
    pace = {"Delay": 0.1, "MaxAttempts": 2400}
    runner.boto.get_waiter("function_updated_v2").wait(FunctionName="both", WaiterConfig=pace)
    runner.boto.publish_version(FunctionName="both")
    for alias, version in (("blue", "1"), ("green", "2")):
        runner.boto.create_alias(FunctionName="both", Name=alias, FunctionVersion=version)
        runner.boto.create_function_url_config(FunctionName="both", Qualifier=alias, AuthType="NONE")
    urls = [
        runner.boto.get_function_url_config(FunctionName="both", Qualifier=one)["FunctionUrl"]
        for one in ("blue", "green")
    ]
    hosts = [urlsplit(url).netloc for url in urls]
    for _ in range(3):  # in turns: both are there all the time
        answers = [runner.server.get("/", {"Host": host}).json() for host in hosts]
        assert [one["werkzeug"] for one in answers] == ["3.0.1", "3.0.6"]
        assert [one["flask"] for one in answers] == ["3.0.0", "3.0.3"]
    answers = [json.loads(runner.invoke(f"both:{one}")[0]) for one in ("blue", "green")]
    assert [one["flask"] for one in answers] == ["3.0.0", "3.0.3"]


@pytest.mark.once
def test_an_image_in_a_watched_directory_is_thumbnailed(runner: Runner, tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    # Its packages are the runner's: what a package of its own costs is the test above.
    source = (ROOT / "examples" / "thumbnails" / "thumbnails.py").read_text()
    (tmp_path / "thumbnails.py").write_text(source)
    runner.run("deploy", str(tmp_path / "thumbnails.py"))
    runner.run("trigger", "thumbnails", "incoming", "--watch", str(incoming))
    runner.boto.put_function_event_invoke_config(
        FunctionName="thumbnails",
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": "file:///broken.jsonl"}},
    )
    for path in (incoming.parent, *incoming.parent.parents):
        if path.is_relative_to("/tmp") and path != Path("/tmp") and os.geteuid() == 0:
            path.chmod(0o755)  # functions are nobody's there
    picture = tmp_path / "picture.jpg"
    Image.linear_gradient("L").resize((1280, 960)).save(picture)
    picture.chmod(0o644)
    picture.rename(incoming / "picture.jpg")
    line = until(lambda: runner.run("logs", "thumbnails", "--text", "picture.jpg: 160 x 120"))[0]
    said = runner.say("logs", line["request_id"])
    told = re.search("  " + ", ".join(rf"{name} ([\d.]+) ms" for name in STAGES) + "; billed", said)
    assert told, said
    assert " by s3, " in said and float(told[6]) > 0 and float(told[4]) + float(told[5]) > 0

    (incoming / "broken.jpg").write_bytes(b"this is no image")
    (letter,) = until(lambda: runner.run("dead-letters", "thumbnails"))
    assert letter["attempts"] == 2 and letter["error"].startswith("UnidentifiedImageError: ")
    outbox = runner.data / "outbox" / "broken.jsonl"
    record = json.loads(until(lambda: outbox.read_text() if outbox.exists() else None))
    assert record["requestContext"]["requestId"] == letter["request_id"]
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestPayload"]["Records"][0]["s3"]["object"]["key"] == "broken.jpg"
    assert record["responsePayload"]["errorType"] == "UnidentifiedImageError"
    runs = runner.run("logs", letter["request_id"])["records"]
    assert [(one["attempt"], one["error"]) for one in runs] == [(1, "unhandled"), (2, "unhandled")]
