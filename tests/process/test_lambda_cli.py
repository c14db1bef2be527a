"""The Lambda face through the aws command line, unmodified: a function's life."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fc_served import INVOKER, MANAGER, Served
from lambda_served import ARN, CODE, OTHER, REGION, ROLE, served
from snapfork.runner.registry.model import Key

pytestmark = pytest.mark.once

AWS = Path(sys.executable).with_name("aws")
# Runs many command lines in one process: what `aws` does, without the second that each start takes.
DRIVER = """
import contextlib, io, json, sys
from awscli.clidriver import create_clidriver
driver, done = create_clidriver(), []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = driver.main(arguments)
    done.append([code, out.getvalue(), err.getvalue()])
json.dump(done, sys.stdout)
"""


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("lambda") / "data") as running:
        yield running


class Aws:
    """`aws lambda` against a served face."""

    def __init__(self, face: Served, directory: Path, key: Key = MANAGER) -> None:
        self.directory = directory
        self.options = [
            "--endpoint-url",
            f"http://127.0.0.1:{face.port}",
            "--region",
            REGION,
            "--output",
            "json",
        ]
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "AWS_ACCESS_KEY_ID": key.id,
            "AWS_SECRET_ACCESS_KEY": key.secret,
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A call in a process of its own, as from a shell."""
        command = [sys.executable, str(AWS), "lambda", *arguments, *self.options]
        return subprocess.run(
            command, env=self.environment, cwd=self.directory, capture_output=True, text=True, timeout=150
        )

    def run_all(self, calls: list[tuple[str, ...]]) -> list[tuple[int, str, str]]:
        """(exit code, output, errors) of each of these calls, by one process that imports the CLI once."""
        work = [["lambda", *call, *self.options] for call in calls]
        done = subprocess.run(
            [sys.executable, "-c", DRIVER],
            input=json.dumps(work),
            env=self.environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=150,
        )
        return [tuple(one) for one in json.loads(done.stdout)]

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode != 0
        return done.stderr


def test_a_function_s_life(face: Served, tmp_path: Path) -> None:
    aws = Aws(face, tmp_path)
    (tmp_path / "code.zip").write_bytes(CODE)
    (tmp_path / "other.zip").write_bytes(OTHER)
    name = ("--function-name", "shop")
    code = ("--zip-file", "fileb://code.zip")
    about = ("--runtime", "python3.12", "--handler", "main.handler", "--role", ROLE)
    more = ("--environment", "Variables={AA=1}", "--tags", "team=a", "--publish")
    split = ("--routing-config", "AdditionalVersionWeights={2=0.1}")
    calls: list[tuple[str, ...]] = [
        ("create-function", *name, *about, *code, *more),
        ("wait", "function-active-v2", *name),
        ("invoke", *name, "--payload", '{"a": 1}', "--log-type", "Tail", "out"),
        ("invoke", *name, "--invocation-type", "Event", "event"),
        ("invoke", *name, "--invocation-type", "DryRun", "dry"),
        ("update-function-code", *name, "--zip-file", "fileb://other.zip"),
        ("wait", "function-updated-v2", *name),
        ("publish-version", *name),
        ("create-alias", *name, "--name", "live", "--function-version", "1", *split),
        ("get-function", *name, "--qualifier", "live"),
        ("list-versions-by-function", *name, "--page-size", "1"),
        ("put-function-event-invoke-config", *name, "--maximum-retry-attempts", "0"),
        ("tag-resource", "--resource", f"{ARN}shop", "--tags", "x=y"),
        ("list-tags", "--resource", f"{ARN}shop"),
        ("create-function-url-config", *name, "--auth-type", "NONE"),
        ("publish-layer-version", "--layer-name", "base", *code),
        ("put-function-concurrency", *name, "--reserved-concurrent-executions", "0"),
        ("invoke", *name, "stopped"),
        ("delete-function", *name),
        ("get-function", *name),
    ]
    done = aws.run_all(calls)
    failed = [call for call, one in zip(calls, done, strict=True) if one[0]]
    assert failed == [calls[17], calls[19]], [one[2] for one in done]
    assert "(TooManyRequestsException)" in done[17][2] and "(ResourceNotFoundException)" in done[19][2]
    said = {index: json.loads(one[1]) for index, one in enumerate(done) if one[1].strip()}
    assert said[0]["FunctionArn"] == f"{ARN}shop:1" and said[0]["Timeout"] == 3
    assert said[2]["StatusCode"] == 200 and said[2]["ExecutedVersion"] == "$LATEST"
    assert base64.b64decode(said[2]["LogResult"]) == b"a line\n"
    assert json.loads((tmp_path / "out").read_text()) == {"a": 1}
    assert (said[3]["StatusCode"], said[4]["StatusCode"]) == (202, 204)
    assert said[7]["Version"] == "2"
    assert said[8]["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.1}}
    assert said[9]["Configuration"]["Version"] == "1"
    assert [one["Version"] for one in said[10]["Versions"]] == ["$LATEST", "1", "2"]
    assert said[13]["Tags"] == {"team": "a", "x": "y"}
    assert said[14]["FunctionUrl"].startswith("http://") and said[15]["Version"] == 1


def test_keys(face: Served, tmp_path: Path) -> None:
    refused = Aws(face, tmp_path, INVOKER).refused("list-functions")
    assert "(AccessDeniedException)" in refused and INVOKER.secret not in refused
    assert "(InvalidSignatureException)" in Aws(face, tmp_path, Key(MANAGER.id, "no")).refused(
        "list-functions"
    )
    assert "(UnrecognizedClientException)" in Aws(face, tmp_path, Key("AKIDNO", "no")).refused(
        "list-functions"
    )
