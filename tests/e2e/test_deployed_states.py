"""What a client is told of new code: pending until the gateway has started it, then successful or failed."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from alibabacloud_fc20230330 import models as m
from botocore.exceptions import ClientError, WaiterError
from deployed import serve, until
from fc_served import zipped
from server import HANG_S
from snapfork.runner.cli.remote import Remote
from snapfork.runner.errors import UserError
from test_deployed_cli import Shell
from test_deployed_fc import Fc
from test_deployed_lambda import Lambda

pytestmark = pytest.mark.once

OLD = {"main.py": "def handler(event, context):\n    return 'old'\n"}
NEW = {"main.py": "def handler(event, context):\n    return 'new'\n"}
BROKEN = {
    "an import that fails": ("import nonesuch\n", "nonesuch"),
    "a syntax error": ("def handler(event, context:\n", "SyntaxError"),
    "no such handler": ("def another(event, context):\n    return 1\n", "handler"),
    "an exception": ("raise RuntimeError('not today')\n", "RuntimeError: not today"),
}
SLOW = """
import socket
socket.create_connection(("127.0.0.1", {port})).recv(1)  # until the other side closes

def handler(event, context):
    return "new"
"""


class Gate:
    """Refuses connections, then (`hold`) keeps who connects, until it is opened."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def hold(self) -> Gate:
        self._socket.listen(64)
        return self

    def open(self) -> None:
        self.hold()
        threading.Thread(target=self._let_go, daemon=True).start()

    def _let_go(self) -> None:
        while True:
            self._socket.accept()[0].close()


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    data = tmp_path_factory.mktemp("runner") / "data"
    with serve(data) as server:
        yield Lambda(server, data)


def updated(aws: Lambda, name: str) -> dict[str, Any]:
    """The configuration after an update that must fail."""
    with pytest.raises(WaiterError) as told:
        aws.wait("function_updated_v2", FunctionName=name)
    assert "Failed" in str(told.value)
    about: dict[str, Any] = aws.boto.get_function_configuration(FunctionName=name)
    assert about["LastUpdateStatus"] == "Failed" and about["State"] == "Active"
    assert about["LastUpdateStatusReasonCode"] == "FunctionError.RuntimeInitError"
    return about


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "never called"])
@pytest.mark.parametrize("what", BROKEN)
def test_an_update_that_does_not_start_has_failed_and_the_old_code_goes_on(
    aws: Lambda, what: str, warm: bool
) -> None:
    name = f"f{list(BROKEN).index(what)}-{warm}"
    aws.create(name, OLD)
    if warm:
        assert aws.invoke(name)[0] == "old"
    code, reason = BROKEN[what]
    told = aws.boto.update_function_code(FunctionName=name, ZipFile=zipped({"main.py": code}))
    assert told["LastUpdateStatus"] in ("InProgress", "Failed")
    assert reason in updated(aws, name)["LastUpdateStatusReason"]
    for _ in range(3):
        assert aws.invoke(name)[0] == "old"
    with pytest.raises(ClientError) as refused:
        aws.boto.publish_version(FunctionName=name)
    assert refused.value.response["Error"]["Code"] == "ResourceConflictException"
    aws.boto.update_function_code(FunctionName=name, ZipFile=zipped(NEW))
    aws.wait("function_updated_v2", FunctionName=name)
    assert aws.invoke(name)[0] == "new"
    assert "LastUpdateStatusReason" not in aws.boto.get_function_configuration(FunctionName=name)


def test_a_handler_that_is_not_there_is_a_failed_update(aws: Lambda) -> None:
    aws.create("nonsense", OLD)
    aws.boto.update_function_configuration(FunctionName="nonsense", Handler="main.nonsense", Timeout=9)
    assert "nonsense" in updated(aws, "nonsense")["LastUpdateStatusReason"]
    assert aws.invoke("nonsense")[0] == "old"
    aws.boto.update_function_configuration(FunctionName="nonsense", Handler="main.handler")
    aws.wait("function_updated_v2", FunctionName="nonsense")
    assert aws.invoke("nonsense")[0] == "old"


def test_after_a_restart_a_cold_function_whose_update_fails_goes_on_with_its_old_code(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serve(data) as server:
        Lambda(server, data).create("cold", OLD)
    with serve(data) as server:
        aws = Lambda(server, data)
        aws.boto.update_function_code(
            FunctionName="cold", ZipFile=zipped({"main.py": "import time; time.sleep(1); import nonesuch\n"})
        )
        assert aws.invoke("cold")[0] == "old"  # which comes while the new code is being tried
        updated(aws, "cold")
        assert aws.invoke("cold")[0] == "old"
    with serve(data) as server:
        aws = Lambda(server, data)
        assert aws.invoke("cold")[0] == "old"
        assert aws.boto.get_function_configuration(FunctionName="cold")["LastUpdateStatus"] == "Failed"


def test_a_new_function_is_pending_until_it_is_up_and_its_first_call_waits(
    aws: Lambda,
) -> None:
    gate = Gate().hold()
    slow = zipped({"main.py": SLOW.format(port=gate.port)})
    members = {"Runtime": "python3.11", "Handler": "main.handler", "Role": "arn:aws:iam::000000000000:role/r"}
    made = aws.boto.create_function(FunctionName="slow", Code={"ZipFile": slow}, Publish=True, **members)
    assert (made["State"], made["StateReasonCode"]) == ("Pending", "Creating")
    assert (made["LastUpdateStatus"], made["LastUpdateStatusReasonCode"]) == ("InProgress", "Creating")
    about = aws.boto.get_function_configuration(FunctionName="slow")
    assert about["State"] == "Pending" and "LastUpdateStatus" not in about
    with pytest.raises(WaiterError, match="Max attempts"):  # who waits for this is not told that it is up
        once = {"Delay": 0, "MaxAttempts": 1}
        aws.boto.get_waiter("function_updated_v2").wait(FunctionName="slow", WaiterConfig=once)
    gate.open()
    assert aws.invoke("slow")[0] == "new"
    aws.wait("function_active_v2", FunctionName="slow")
    aws.wait("published_version_active", FunctionName="slow", Qualifier="1")
    assert aws.invoke("slow", Qualifier="1")[0] == "new"


def test_while_an_update_is_tried_the_old_code_answers_and_nothing_is_published(
    aws: Lambda,
) -> None:
    gate = Gate().hold()
    aws.create("moving", OLD)
    assert aws.invoke("moving")[0] == "old"
    slow = zipped({"main.py": SLOW.format(port=gate.port)})
    told = aws.boto.update_function_code(FunctionName="moving", ZipFile=slow)
    assert told["LastUpdateStatus"] == "InProgress" and told["State"] == "Active"
    assert told["LastUpdateStatusReasonCode"] == "Creating"
    assert aws.invoke("moving")[0] == "old"
    with pytest.raises(ClientError) as refused:
        aws.boto.publish_version(FunctionName="moving")
    assert refused.value.response["Error"]["Code"] == "ResourceConflictException"
    gate.open()
    aws.wait("function_updated_v2", FunctionName="moving")
    assert aws.invoke("moving")[0] == "new"
    assert aws.boto.publish_version(FunctionName="moving")["Version"] == "1"
    assert aws.invoke("moving", Qualifier="1")[0] == "new"


def test_a_new_function_that_does_not_start_has_failed_and_says_why(aws: Lambda) -> None:
    members = {"Runtime": "python3.11", "Handler": "main.handler", "Role": "arn:aws:iam::000000000000:role/r"}
    package = zipped({"main.py": "import nonesuch\n"})
    made = aws.boto.create_function(FunctionName="never", Code={"ZipFile": package}, **members)
    assert made["State"] == "Pending"
    with pytest.raises(WaiterError):
        aws.wait("function_active_v2", FunctionName="never")
    about = aws.boto.get_function_configuration(FunctionName="never")
    assert about["State"] == "Failed" and "nonesuch" in about["StateReason"]
    assert "nonesuch" in aws.fails("never", {})["errorMessage"]
    aws.boto.update_function_code(FunctionName="never", ZipFile=zipped(NEW))
    aws.wait("function_updated_v2", FunctionName="never")
    aws.wait("function_active_v2", FunctionName="never")
    assert aws.invoke("never")[0] == "new"


def test_a_start_that_failed_for_a_passing_reason_is_tried_again_by_the_next_call(
    aws: Lambda,
) -> None:
    gate = Gate()
    code = SLOW.format(port=gate.port).replace('"new"', '"up"')
    members = {"Runtime": "python3.11", "Handler": "main.handler", "Role": "arn:aws:iam::000000000000:role/r"}
    aws.boto.create_function(FunctionName="again", Code={"ZipFile": zipped({"main.py": code})}, **members)
    with pytest.raises(WaiterError):
        aws.wait("function_active_v2", FunctionName="again")
    gate.open()
    until(lambda: aws.invoke("again")[0] == "up")
    until(lambda: aws.boto.get_function_configuration(FunctionName="again")["State"] == "Active")


def test_deploy_of_what_does_not_start_says_so_and_ls_shows_it(tmp_path: Path) -> None:
    with serve(tmp_path / "data") as server:
        shell = Shell(server, tmp_path)
        app = tmp_path / "job.py"
        app.write_text("def handler(event, context):\n    return 'old'\n")
        shell.ok("deploy", "job.py")
        app.write_text("import nonesuch\n\ndef handler(event, context):\n    return 'new'\n")
        for _ in range(2):  # the same again, too
            done = shell.run("deploy", "job.py", "--alias", "live", traceback=True)
            assert done.returncode == 1 and "updated" not in done.stdout
            assert "nonesuch" in done.stderr and "The code before goes on." in done.stderr
            (row,) = [one for one in shell.ok("ls").splitlines() if one.startswith("job ")]
            assert "update failed" in row
            assert json.loads(shell.ok("invoke", "job", "{}")) == "old"
        assert shell.json("alias", "job") == []
        assert [one["version"] for one in shell.json("versions", "job")["versions"]] == ["LATEST"]
        done = shell.run("deploy", "job.py", "--name", "new", traceback=True)
        assert done.returncode == 1 and "nonesuch" in done.stderr and "code before" not in done.stderr


def test_a_deployment_takes_the_place_of_one_that_hangs(tmp_path: Path) -> None:
    gate = Gate().hold()  # for good
    hanging, new = SLOW.format(port=gate.port), NEW["main.py"]
    with serve(tmp_path / "data") as server:
        shell = Shell(server, tmp_path)
        app = tmp_path / "job.py"
        for old in (None, "old"):  # a new function, and one that goes on meanwhile
            app.write_text(hanging)
            first = subprocess.Popen(
                [sys.executable, "-m", "snapfork.runner", "deploy", "job.py", "--alias", "live"],
                cwd=tmp_path, env=server.environment, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            with first:
                until(lambda: "pending" in shell.ok("ls"))
                if old:
                    assert json.loads(shell.ok("invoke", "job", "{}")) == old
                app.write_text(new)
                assert "version LATEST" in shell.ok("deploy", "job.py")
                said = first.communicate(timeout=HANG_S)[1]
                assert first.returncode == 2 and "another deployment has taken the place" in said
            assert json.loads(shell.ok("invoke", "job", "{}")) == "new"
            assert shell.json("alias", "job") == [], "nothing was published in the name of what hung"
            app.write_text(OLD["main.py"])
            shell.ok("deploy", "job.py")


def test_what_is_published_is_what_was_deployed(tmp_path: Path) -> None:
    with serve(tmp_path / "data") as server:
        shell = Shell(server, tmp_path)
        app = tmp_path / "job.py"
        app.write_text(OLD["main.py"])
        mine = shell.json("deploy", "job.py")["version"]["revision"]
        app.write_text(NEW["main.py"])
        shell.ok("deploy", "job.py")
        key = json.loads((tmp_path / "data" / "keys").read_text())["keys"][0]
        control = urlsplit(server.wait_for(r"control: (http://\S+)/status")[1])
        connection = http.client.HTTPConnection(control.netloc, timeout=HANG_S)
        remote = Remote(connection, control.netloc, (key["id"], key["secret"]), "The runner")
        with pytest.raises(UserError, match="Function job has changed since"):
            remote.call("POST", "functions", "job", "versions", body=json.dumps({"revision": mine}).encode())
        assert [one["version"] for one in shell.json("versions", "job")["versions"]] == ["LATEST"]


def test_a_creation_does_not_wait_for_its_code(aws: Lambda) -> None:
    code = {"main.py": "import time; time.sleep(3)\ndef handler(event, context):\n    return 'up'\n"}
    begun = time.monotonic()
    members = {"Runtime": "python3.11", "Handler": "main.handler", "Role": "arn:aws:iam::000000000000:role/r"}
    aws.boto.create_function(FunctionName="later", Code={"ZipFile": zipped(code)}, **members)
    assert time.monotonic() - begun < 3
    assert aws.invoke("later")[0] == "up"


def test_fc_says_what_has_become_of_an_update_and_an_initializer_that_fails_is_a_failed_start(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    code = """
def init(context):
    {what}

def handler(event, context):
    return "{word}"
"""

    def zipped_code(what: str, word: str) -> m.InputCodeLocation:
        package = zipped({"index.py": code.format(what=what, word=word)})
        return m.InputCodeLocation(zip_file=base64.b64encode(package).decode())

    with serve(data) as server:
        fc = Fc(server, data)

        def about(name: str) -> Any:
            return fc.client.get_function(name, m.GetFunctionRequest()).body

        hook = m.InstanceLifecycleConfig(initializer=m.LifecycleHook(handler="index.init", timeout=5))
        good = {"index.py": code.format(what="pass", word="old")}
        made = fc.create("job", good, instance_lifecycle_config=hook)
        assert made.state == "Pending"
        assert fc.invoke("job")[0] == b"old"
        until(lambda: about("job").state == "Active")
        body = m.UpdateFunctionInput(code=zipped_code("raise RuntimeError('not today')", "new"))
        told = fc.client.update_function("job", m.UpdateFunctionRequest(body=body)).body
        assert told.last_update_status in ("InProgress", "Failed")
        until(lambda: about("job").last_update_status == "Failed")
        now = about("job")
        assert now.state == "Active" and "not today" in now.last_update_status_reason
        assert now.last_update_status_reason_code == "StartFailed"
        assert fc.invoke("job")[0] == b"old"
        body = m.UpdateFunctionInput(code=zipped_code("pass", "new"))
        fc.client.update_function("job", m.UpdateFunctionRequest(body=body))
        until(lambda: about("job").last_update_status == "Successful")
        assert fc.invoke("job")[0] == b"new"
        layer = m.UpdateFunctionInput(layers=["acs:fc:elsewhere:1:layers/tools/versions/1"])
        with pytest.raises(Exception, match="does not exist"):
            fc.client.update_function("job", m.UpdateFunctionRequest(body=layer))
