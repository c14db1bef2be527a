"""Every command for deployed functions as it is typed, and `serverless(app).deploy(url)` from a script."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed import serve, until
from server import HANG_S, Serve
from snapfork.runner.processes import as_user

pytestmark = pytest.mark.once

WEB = """
from flask import Flask, request

app = Flask(__name__)
VISITS = ["{word}"]

@app.get("/")
def hello():
    print("somebody came")
    return VISITS[0]

@app.post("/invoke")
def echo():
    return request.get_data()
"""
HANDLER = """
import json, sys

def handler(event, context):
    print("got", json.dumps(event))
    if event.get("fail"):
        raise ValueError("no")
    return {"given": event, "version": context.function_version}
"""


class Shell:
    """The commands beside one running runner."""

    def __init__(self, server: Serve, where: Path) -> None:
        self.server = server
        self.where = where

    def run(
        self, *words: str, data: bytes = b"", env: dict[str, str] | None = None, traceback: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """What a command has said. traceback: there may be one, of the function's code."""
        done = subprocess.run(
            [sys.executable, "-m", "snapfork.runner", *words],
            cwd=self.where, env=self.server.environment | (env or {}), input=data,
            capture_output=True, timeout=HANG_S, check=False,
        )  # fmt: skip
        said = subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )
        assert traceback or "Traceback" not in said.stderr, said.stderr
        return said

    def ok(self, *words: str, data: bytes = b"", env: dict[str, str] | None = None) -> str:
        """What a command that must succeed prints."""
        done = self.run(*words, data=data, env=env)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def json(self, *words: str, data: bytes = b"") -> Any:
        return json.loads(self.ok(*words, "--json", data=data))

    def refused(self, *words: str, env: dict[str, str] | None = None) -> str:
        """The one sentence of a command that must not succeed, and its hint."""
        done = self.run(*words, env=env)
        assert done.returncode == 2, (words, done.stdout, done.stderr)
        first, *hints = done.stderr.splitlines()
        assert first.startswith("error: ") and len(hints) <= 1, done.stderr
        return done.stderr.removeprefix("error: ")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    where = tmp_path_factory.mktemp("cli")
    with serve(where / "data") as server:
        yield Shell(server, where)


def handler(shell: Shell, name: str) -> str:
    """A deployed handler of that name."""
    (shell.where / f"{name}.py").write_text(HANDLER)
    shell.ok("deploy", f"{name}.py")
    return name


def test_a_directory_is_deployed_and_changed(shell: Shell) -> None:
    app = shell.where / "shop"
    app.mkdir()
    (app / "app.py").write_text(WEB.format(word="one"))
    said = shell.ok("deploy", "shop")
    assert re.match(r"shop: sending 1 file, [\d.]+ \w+, as app\nshop: created, version LATEST\n", said)
    assert f"  {shell.server.url}/shop/\n" in said and "call it: runner invoke shop '{}'\n" in said
    assert shell.server.get("/shop/").text == "one"
    (app / "app.py").write_text(WEB.format(word="two"))
    made = shell.json("deploy", "shop", "--alias", "live", "--description", "second")
    assert (made["created"], made["version"]["version"], made["alias"]["version"]) == (False, "1", "1")
    assert shell.server.get("/shop/").text == "two"
    (row,) = [one for one in shell.ok("ls").splitlines() if one.startswith("shop ")]
    assert row.split()[1:6] == ["active", "app", "python3", "60s", "-"]
    assert [one["function"]["name"] for one in shell.json("ls", "sho")] == ["shop"]
    assert shell.json("ls", "nothing") == []
    assert shell.ok("ls", "nothing") == "Nothing is deployed. Begin with: runner deploy\n"


def test_a_file_and_a_zip_with_settings(shell: Shell) -> None:
    (shell.where / "one.py").write_text(HANDLER)
    words = ("--timeout", "7", "--memory", "256MB", "--env", "A=b", "--concurrency", "2", "--tag", "of=me")
    made = shell.json("deploy", "one.py", *words)["version"]["configuration"]
    assert (made["handler"], made["timeout"], made["memory"]) == ("one:handler", 7.0, 256)
    assert (made["env"], made["concurrency"]) == ({"A": "b"}, 2)
    with zipfile.ZipFile(shell.where / "two.zip", "w") as archive:
        archive.writestr("lambda_function.py", HANDLER.replace("def handler", "def lambda_handler"))
    made = shell.json("deploy", "two.zip", "--name", "zipped")["version"]["configuration"]
    assert made["handler"] == "lambda_function.lambda_handler"
    assert json.loads(shell.ok("invoke", "zipped", "{}"))["given"] == {}


def test_settings_of_the_project_and_of_the_app_hold(shell: Shell) -> None:
    app = shell.where / "settled"
    app.mkdir()
    (app / "app.py").write_text(
        "import os\nfrom flask import Flask\nfrom snapfork.adapter import serverless\n\n"
        "app = serverless(Flask(__name__), memory='1GB', env={'MINE': 'app', 'OURS': 'app'})\n\n"
        "@app.get('/')\ndef which():\n    return [os.environ[name] for name in ('MINE', 'OURS', 'TYPED')]\n"
    )
    (app / "pyproject.toml").write_text(
        "[tool.snapfork]\ntimeout = 9\nmax_requests = 3\n"
        "[tool.snapfork.functions.settled]\nenv = {OURS = 'project', TYPED = 'project'}\n"
    )
    made = shell.json("deploy", "settled", "--env", "TYPED=typed")["version"]["configuration"]
    assert (made["timeout"], made["settings"]) == (9.0, {"max_requests": 3})
    assert shell.server.get("/settled/").json() == ["app", "project", "typed"]

    def limit() -> Any:
        return shell.server.function("settled:LATEST")["settings"]["memory"]

    assert limit() == 1 << 30
    shell.ok("deploy", "settled", "--memory", "off")
    assert shell.server.get("/settled/").status == 200 and limit() is None
    (app / "pyproject.toml").write_text("[tool.snapfork]\ntimeout = 'soon'\n")
    assert "timeout" in shell.refused("deploy", "settled")


def test_packages_are_installed_and_their_installation_is_shown(shell: Shell) -> None:
    app = shell.where / "needs"
    app.mkdir()
    (app / "app.py").write_text(HANDLER.replace("def handler", "def main"))
    (app / "requirements.txt").write_text("nothing-of-this-name-here==1.0\n")
    done = shell.run("deploy", "needs", "--handler", "app:main")
    assert done.returncode == 1 and done.stderr.startswith("error: needs: ")
    assert "nothing-of-this-name-here" in done.stderr  # the installer's last lines


def test_a_function_is_called(shell: Shell) -> None:
    name = handler(shell, "called")
    assert json.loads(shell.ok("invoke", name, '{"a": 1}'))["given"] == {"a": 1}
    assert json.loads(shell.ok("invoke", name, "-", data=b'{"b": 2}'))["given"] == {"b": 2}
    (shell.where / "event.json").write_text('{"c": 3}')
    assert json.loads(shell.ok("invoke", f"{name}:LATEST", "@event.json"))["given"] == {"c": 3}
    done = shell.run("invoke", name, '{"d": 4}', "--tail")
    assert json.loads(done.stdout)["given"] == {"d": 4}
    assert done.stderr.startswith("START RequestId: ") and 'got {"d": 4}\n' in done.stderr
    told = shell.json("invoke", name, "{}", "--tail")
    assert (told["version"], told["start"]) == ("LATEST", "warm") and told["duration_ms"] > 0
    assert json.loads(told["payload"])["given"] == {} and "got {}\n" in told["log"]


def test_a_function_that_fails_is_exit_status_1(shell: Shell) -> None:
    name = handler(shell, "failing")
    done = shell.run("invoke", name, '{"fail": 1}')
    assert done.returncode == 1 and json.loads(done.stdout)["errorType"] == "ValueError"
    assert "failing: the function failed (unhandled)." in done.stderr
    done = shell.run("invoke", name, '{"fail": 1}', "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["error"] == "unhandled" and done.stderr == ""


def test_code_that_does_not_start_says_why(shell: Shell) -> None:
    (shell.where / "broken.py").write_text("import nothing_here\n\ndef handler(event, context):\n    pass\n")
    done = shell.run("deploy", "broken.py", traceback=True)
    assert done.returncode == 1 and "it needs 'nothing_here'" in done.stderr
    done = shell.run("invoke", "broken", "{}")
    said = json.loads(done.stdout)
    assert done.returncode == 1 and said["errorType"] == "Runtime.ImportModuleError"
    assert "it needs 'nothing_here'" in said["errorMessage"] and "requirements.txt" in said["errorMessage"]
    assert "broken: the function failed (init_failed)." in done.stderr
    (record,) = until(lambda: shell.json("logs", "broken", "--records"))
    assert record["error"] == "init_failed" and record["stages"]["initialise"] > 0


def test_an_event_is_queued_and_its_record_read_back(shell: Shell) -> None:
    name = handler(shell, "queued")
    done = shell.run("invoke", name, '{"later": 1}', "--async")
    identity = done.stdout.strip()
    assert f"runner logs {identity}" in done.stderr

    def told() -> str | None:
        said = shell.run("logs", identity).stdout
        return said if " by async, " in said and "HTTP 200" in said and 'got {"later": 1}' in said else None

    said = until(told)
    stages = re.search(
        r"  schedule [\d.]+ ms, fetch [\d.]+ ms, unpack [\d.]+ ms, start [\d.]+ ms, "
        r"(?:initialise [\d.]+ ms, )?run [\d.]+ ms; billed \d+ ms, \d+ MB at most",
        said,
    )
    assert stages, said
    found = shell.json("logs", identity)
    (record,) = found["records"]
    assert record["stages"]["start"] > 0  # it was the first call; its code was up before
    assert [line["text"] for line in found["lines"] if line["text"].startswith("got")] == ['got {"later": 1}']
    made = shell.json("invoke", name, "{}", "--async", "--delay", "3600")
    assert list(made) == ["request_id"]


def test_lines_and_records_of_a_function(shell: Shell) -> None:
    name = handler(shell, "printing")
    for number in range(3):
        shell.ok("invoke", name, json.dumps({"n": number}))
    lines = shell.json("logs", name, "--text", 'got {"n"', "--since", "1h")
    assert [line["text"] for line in lines] == [f'got {{"n": {number}}}' for number in range(3)]
    assert shell.json("logs", name, "--text", "got", "--limit", "1")[0]["text"] == 'got {"n": 2}'
    assert shell.json("logs", name, "--until", "1h") == []
    assert shell.ok("logs", f"{name}:7") == ""
    header, *rows = shell.ok("logs", name, "--records").splitlines()
    assert header.split()[:3] == ["begun", "request", "version"] and len(rows) == 3
    assert all(record["billed"] >= 1 for record in shell.json("logs", name, "--records"))
    follower = subprocess.Popen(
        [sys.executable, "-m", "snapfork.runner", "logs", name, "--follow"],
        env=shell.server.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert follower.stdout is not None
        for line in follower.stdout:
            if 'got {"n": 2}' in line:
                break
        shell.ok("invoke", name, '{"n": "new"}')
        assert any('got {"n": "new"}' in line for line in follower.stdout)
    finally:
        follower.kill()
        follower.communicate()


def test_versions_aliases_and_a_split(shell: Shell) -> None:
    name = handler(shell, "split")
    header, latest, first = shell.ok("versions", name, "--publish", "--description", "first").splitlines()
    assert latest.split()[0] == "LATEST" and first.split()[0] == "1" and first.rstrip().endswith(" first")
    (shell.where / "split.py").write_text(HANDLER + "# changed\n")
    shell.ok("deploy", "split.py", "--publish")
    assert shell.ok("alias", name, "live", "1") == "split: alias live is version 1\n"
    said = shell.ok("alias", name, "live", "1", "--weight", "2=0.25")
    assert said == "split: alias live is version 1, 25% to 2\n"
    assert shell.ok("alias", name, "live") == said  # looked at, not changed
    (row,) = shell.ok("alias", name).splitlines()[1:]
    assert row.split()[:4] == ["live", "1", "2", "25%"]
    assert "live 75%" in shell.ok("versions", name) and "live 25%" in shell.ok("versions", name)
    called = {json.loads(shell.ok("invoke", f"{name}:{one}", "{}"))["version"] for one in ("1", "2")}
    assert called == {"1", "2"}
    assert shell.json("alias", name, "live", "2")["weights"] == {}
    assert "live" in shell.refused("rm", f"{name}:2", "--yes")
    assert shell.json("alias", name, "live", "--rm") == {"removed": "live"}
    assert shell.ok("rm", f"{name}:1", "--yes") == "split:1: removed\n"
    assert [one["version"] for one in shell.json("versions", name)["versions"]] == ["LATEST", "2"]


def test_addresses(shell: Shell) -> None:
    name = handler(shell, "placed")
    both = shell.ok("url", name).splitlines()
    closing = "open to everybody who reaches the port; `runner url placed --auth signed` closes it"
    assert both == [f"http://placed.localhost:{shell.server.port}/", f"{shell.server.url}/placed/", closing]
    assert shell.ok("deploy", "placed.py").splitlines()[-2].strip() == closing
    assert shell.server.get("/placed/x").status == 200
    *made, last = shell.ok("url", name, "--auth", "none").splitlines()
    assert made[:2] == both[:2] and last == closing
    assert re.fullmatch(r"http://\w+\.lambda-url\.us-east-1\.localhost:\d+/", made[2])
    host = made[2].removeprefix("http://").rstrip("/")
    assert shell.server.get("/x?y=1", {"Host": host}).json()["given"]["rawPath"] == "/x"
    assert shell.json("url", name, "--auth", "signed")["addresses"] == made
    assert shell.ok("url", name).splitlines() == made  # not a word of everybody
    for path, named in (("/", host), ("/x", f"placed.localhost:{shell.server.port}"), ("/placed/x", "any")):
        assert shell.server.get(path, {"Host": named}).status == 403
    assert shell.ok("url", name, "--rm").splitlines() == both


def test_triggers_and_dead_letters(shell: Shell) -> None:
    name = handler(shell, "told")
    made = shell.json("trigger", name, "tick", "--every", "@every 1s", "--payload", "due")
    assert made["kind"] == "timer"
    until(lambda: shell.json("logs", name, "--text", '"payload": "due"'))
    (row,) = shell.ok("trigger", name).splitlines()[1:]
    assert row.split()[:4] == ["tick", "timer", "on", "LATEST"]
    assert shell.ok("trigger", name, "tick", "--rm") == "told: trigger tick is gone\n"
    incoming = shell.where / "incoming"
    incoming.mkdir()
    said = shell.ok("trigger", name, "files", "--watch", "incoming")
    assert said == "told: trigger files is on (incoming)\n"
    (incoming / "a.txt").write_text("a")
    until(lambda: shell.json("logs", name, "--text", "a.txt"))
    assert shell.ok("dead-letters", name) == "told: nothing has failed for good.\n"
    set_async(control(shell), name, {"retries": 0})
    identity = shell.json("invoke", name, '{"fail": 1}', "--async")["request_id"]
    (letter,) = until(lambda: shell.json("dead-letters", name))
    assert (letter["request_id"], letter["attempts"], letter["error"]) == (identity, 1, "ValueError: no")
    assert identity in shell.ok("dead-letters", name)
    assert "nope is no dead letter of told" in shell.refused("dead-letters", name, "--redrive", "nope")
    assert shell.ok("dead-letters", name, "--redrive", "all") == "told: 1 run anew\n"


def set_async(env: dict[str, str], name: str, given: dict[str, Any]) -> None:
    """What no command sets: by the API, as the CLI calls it."""
    script = (
        "import json, sys; from snapfork.runner.cli.remote import connect; import os;"
        "connect(os.environ['SNAPFORK_URL']).call('PUT', 'functions', sys.argv[1], 'async', "
        "body=sys.argv[2].encode())"
    )
    subprocess.run(
        [sys.executable, "-c", script, name, json.dumps(given)],
        env=os.environ | env,
        check=True,
        timeout=HANG_S,
    )


def control(shell: Shell) -> dict[str, str]:
    """The variables that `runner key env` sets."""
    found: dict[str, str] = shell.json("key", "env")
    return found


def test_keys_limited_to_invoking_and_to_one_function(shell: Shell) -> None:
    name, other = handler(shell, "mine"), handler(shell, "other")
    env = control(shell)
    made = shell.json("key", "create", "--function", name, "--description", "the web shop")
    said = shell.ok("key", "ls")
    assert made["secret"] not in said and f"{made['key']['id']}  invoke  mine" in said
    limited = env | {"SNAPFORK_KEY_ID": made["key"]["id"], "SNAPFORK_KEY_SECRET": made["secret"]}
    assert json.loads(shell.ok("invoke", name, "{}", env=limited))["given"] == {}
    for words in (
        ("invoke", other, "{}"), ("ls",), ("deploy", "mine.py"), ("logs", name), ("rm", name, "--yes"),
        ("alias", name, "live", "1"), ("key", "create"), ("url", name, "--auth", "none"),
        ("trigger", name, "t", "--every", "@every 1h"), ("versions", name, "--publish"),
    ):  # fmt: skip
        assert made["key"]["id"] in shell.refused(*words, env=limited), words
    manager = shell.json("key", "create", "--role", "manage", "--function", other)
    managing = env | {"SNAPFORK_KEY_ID": manager["key"]["id"], "SNAPFORK_KEY_SECRET": manager["secret"]}
    assert "LATEST" in shell.ok("versions", other, env=managing)
    assert manager["key"]["id"] in shell.refused("versions", name, env=managing)
    assert manager["key"]["id"] in shell.refused("ls", env=managing)
    assert shell.json("key", "rm", made["key"]["id"]) == {"removed": made["key"]["id"]}
    assert "Set SNAPFORK_KEY_ID" in shell.refused("invoke", name, "{}", env=limited)
    wrong = env | {"SNAPFORK_KEY_SECRET": "wrong"}
    assert "Set SNAPFORK_KEY_ID" in shell.refused("ls", env=wrong)
    assert shell.json("versions", name)["aliases"] == []  # nothing of what was refused has happened


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("invoke", "nope", "{}"), "There is no function nope."),
        (("versions", "nope"), "There is no function nope."),
        (("logs", "nope"), "There is no function nope."),
        (("dead-letters", "nope"), "There is no function nope."),
        (("rm", "nope", "--yes"), "There is no function nope."),
        (("url", "nope"), "There is no function nope."),
        (("trigger", "nope"), "There is no function nope."),
        (("alias", "nope", "live", "1"), "There is no function nope."),
        (("invoke", "known:9", "{}"), "Function known has no version 9."),
        (("invoke", "known:blue", "{}"), "Function known has no alias blue."),
        (("alias", "known", "blue"), "known has no alias blue."),
        (("alias", "known", "blue", "9"), "Function known has no version 9."),
        (("alias", "known", "blue", "1", "--weight", "x"), "--weight x: a version, '=' and a share"),
        (("trigger", "known", "t"), "A trigger is a timer (--every) or a watched directory (--watch)"),
        (("trigger", "known", "t", "--every", "soon"), "'soon' is not a cron expression"),
        (("trigger", "known", "t", "--watch", "nowhere"), "--watch nowhere: no such directory."),
        (("trigger", "known", "t", "--rm"), "Function known has no trigger t."),
        (("rm", "known"), "known is not removed: nobody is here to be asked."),
        (("logs", "00000000-0000-4000-8000-000000000000"), "Nothing is known of 00000000"),
        (("logs", "known", "--since", "ever"), "--since ever: an age such as 30s"),
        (("logs", "--records"), "--records needs a function."),
        (("key", "rm", "SFNOPE"), "There is no key SFNOPE."),
        (("key", "create", "--role", "god"), "--role god: invoke or manage."),
        (("deploy", "known.py", "--memory", "lots"), "--memory"),
        (("ls", "--url", "http://127.0.0.1:1"), "The runner at http://127.0.0.1:1 does not answer"),
    ],
)
def test_a_mistake_is_one_sentence(shell: Shell, words: tuple[str, ...], sentence: str) -> None:
    if not (shell.where / "known.py").exists():
        handler(shell, "known")
        shell.ok("versions", "known", "--publish")
    assert shell.refused(*words).startswith(sentence)


def test_what_serve_prints_can_be_pasted(shell: Shell) -> None:
    server = shell.server
    where = server.wait_for(r"control: (http://\S+)/status")[1]
    lines = [server.wait_for(pattern)[0] for pattern in (r"^  key = .*", r"^  boto3\..*", r"^  Client\(.*")]
    script = "\n".join(
        [
            "import json, boto3",
            "from alibabacloud_fc20230330.client import Client",
            "from alibabacloud_fc20230330 import models",
            "from alibabacloud_tea_openapi.utils_models import Config",
            *(line.strip() for line in lines[:1]),
            f"print(len({lines[1].strip()}.list_functions()['Functions']))",
            f"found = {lines[2].strip()}.list_functions(models.ListFunctionsRequest())",
            "print(len(found.body.functions))",
        ]
    )
    handler(shell, "pasted")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(int(count) >= 1 for count in done.stdout.split())
    assert where in shell.ok("key", "env")
    secret = json.loads((shell.where / "data" / "keys").read_text())["keys"][0]["secret"]
    assert not any(secret in line for line in server.output)
    python = sys.executable
    command = f'eval "$({python} -m snapfork.runner key env)"; {python} -m awscli lambda list-functions'
    done = subprocess.run(
        ["sh", "-c", command],
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "pasted" in [one["FunctionName"] for one in json.loads(done.stdout)["Functions"]]


def test_deployed_functions_are_not_reloaded_but_seen(shell: Shell) -> None:
    handler(shell, "seen")
    shell.ok("invoke", "seen", "{}")
    pid = str(shell.server.process.pid)
    assert "changes by `runner deploy`" in shell.refused("reload", pid)
    assert "seen:LATEST" in shell.ok("status", pid)
    (one,) = [one for one in json.loads(shell.ok("ps", "--json")) if str(one["pid"]) == pid]
    assert "seen:LATEST" in [function["name"] for function in one["functions"]]


SCRIPT = """
import sys
from flask import Flask, jsonify
from snapfork.adapter import serverless

made_of = [int(word) for word in sys.argv[2:]]

def create():
    app = Flask("counting")
    @app.get("/")
    def total():
        return jsonify(made_of)
    return app

if __name__ == "__main__":
    made = serverless(create()).deploy(sys.argv[1], "counting", description="from a script", timeout=20)
    print(made["version"]["version"], *made["addresses"])
"""


LIVE_HANDLER = """
import sys
from flask import Flask
from snapfork.adapter import serverless

seen = [sys.argv[2]]

@serverless(timeout=11)
def listen(event, context):
    seen.append(event["word"])
    return [seen, context.function_name, context.get_remaining_time_in_millis() <= 11_000]

@serverless(timeout=12)
def create():
    app = Flask("made")
    app.add_url_rule("/", view_func=lambda: seen[0])
    return app

for live in (listen, create()):
    made = live.deploy(sys.argv[1], "live-" + getattr(live, "__name__", "app"))
    print(made["version"]["configuration"]["timeout"])
"""


def test_a_live_handler_and_what_a_factory_made(shell: Shell) -> None:
    script = shell.where / "listening.py"
    script.write_text(LIVE_HANDLER)
    env = shell.server.environment | control(shell)
    done = subprocess.run(
        [sys.executable, str(script), env["SNAPFORK_URL"], "begun"],
        env=env, capture_output=True, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (0, ["11.0", "12.0"]), done.stderr
    script.unlink()
    told = json.loads(shell.ok("invoke", "live-listen", '{"word": "heard"}'))
    assert told == [["begun", "heard"], "live-listen", True]
    assert shell.server.get("/live-app/").body == b"begun"


def deploys_a_live_app(server: Serve, shell: Shell, script: Path) -> None:
    script.write_text(SCRIPT)
    env = server.environment | ({} if "SNAPFORK_URL" in server.environment else control(shell))
    words = [sys.executable, str(script), env["SNAPFORK_URL"], "3", "4"]
    done = subprocess.run(
        words, env=env, capture_output=True, text=True, timeout=HANG_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    version, *addresses = done.stdout.split()
    assert version == "LATEST" and f"{server.url}/counting/" in addresses
    script.unlink()
    assert server.get("/counting/").json() == [3, 4], server.tail()
    (row,) = [one for one in shell.json("ls") if one["function"]["name"] == "counting"]
    assert row["latest"]["configuration"]["timeout"] == 20
    assert row["latest"]["configuration"]["description"] == "from a script"


def test_a_live_app_without_its_source(shell: Shell) -> None:
    deploys_a_live_app(shell.server, shell, shell.where / "script.py")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a runner as somebody else")
def test_a_live_app_on_a_runner_without_rights(tmp_path: Path) -> None:
    """Where the runner is no root, functions and the key that signs snapshots are its user's."""
    who = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp(prefix="snapfork-"))
    try:
        server = serve(home / "data")
        for path in (home, server.run_dir):
            os.chown(path, who.pw_uid, who.pw_gid)
        server.environment |= {"HOME": str(home)}
        server.command = as_user.command((who.pw_uid, who.pw_gid, "nobody"), [], server.command)
        with server:
            assert os.stat(f"/proc/{server.process.pid}/cmdline").st_uid in (0, who.pw_uid)
            key = json.loads((home / "data" / "keys").read_text())["keys"][0]
            where = server.wait_for(r"control: (http://\S+)/status")[1]
            env = {"SNAPFORK_URL": where, "SNAPFORK_KEY_ID": key["id"], "SNAPFORK_KEY_SECRET": key["secret"]}
            server.environment |= env | {"HOME": str(tmp_path)}
            deploys_a_live_app(server, Shell(server, tmp_path), tmp_path / "script.py")
    finally:
        shutil.rmtree(home)
