"""The Lambda face through the aws command line, unmodified: a function's life."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fc_served import INVOKER, MANAGER, Served
from lambda_served import ARN, CODE, OTHER, REGION, ROLE, served
from snapfork.runner.registry.model import Key

pytestmark = pytest.mark.timeout(180)  # each call is a Python of its own that imports all of the aws CLI
AWS = Path(sys.executable).with_name("aws")


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
        command = [sys.executable, str(AWS), "lambda", *arguments, *self.options]
        return subprocess.run(
            command, env=self.environment, cwd=self.directory, capture_output=True, text=True, timeout=60
        )

    def __call__(self, *arguments: str) -> Any:
        """The JSON that it prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode != 0
        return done.stderr


def test_a_function_s_life(face: Served, tmp_path: Path) -> None:
    aws = Aws(face, tmp_path)
    (tmp_path / "code.zip").write_bytes(CODE)
    (tmp_path / "other.zip").write_bytes(OTHER)
    name = ("--function-name", "shop")
    made = aws(
        "create-function",
        *name,
        *("--runtime", "python3.12", "--handler", "main.handler", "--role", ROLE),
        *(
            "--zip-file",
            "fileb://code.zip",
            "--environment",
            "Variables={AA=1}",
            "--tags",
            "team=a",
            "--publish",
        ),
    )
    assert made["FunctionArn"] == f"{ARN}shop:1" and made["Timeout"] == 3
    aws("wait", "function-active-v2", *name)
    answer = aws("invoke", *name, "--payload", '{"a": 1}', "--log-type", "Tail", "out")
    assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "$LATEST"
    assert base64.b64decode(answer["LogResult"]) == b"a line\n"
    assert json.loads((tmp_path / "out").read_text()) == {"a": 1}
    assert aws("invoke", *name, "--invocation-type", "Event", "out")["StatusCode"] == 202
    assert aws("invoke", *name, "--invocation-type", "DryRun", "out")["StatusCode"] == 204
    aws("update-function-code", *name, "--zip-file", "fileb://other.zip")
    aws("wait", "function-updated-v2", *name)
    assert aws("publish-version", *name)["Version"] == "2"
    split = ("--routing-config", "AdditionalVersionWeights={2=0.1}")
    alias = aws("create-alias", *name, "--name", "live", "--function-version", "1", *split)
    assert alias["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.1}}
    assert aws("get-function", *name, "--qualifier", "live")["Configuration"]["Version"] == "1"
    listed = aws("list-versions-by-function", *name, "--page-size", "1")["Versions"]
    assert [one["Version"] for one in listed] == ["$LATEST", "1", "2"]
    aws("put-function-event-invoke-config", *name, "--maximum-retry-attempts", "0")
    aws("put-function-concurrency", *name, "--reserved-concurrent-executions", "0")
    assert "(TooManyRequestsException)" in aws.refused("invoke", *name, "out")
    aws("tag-resource", "--resource", f"{ARN}shop", "--tags", "x=y")
    assert aws("list-tags", "--resource", f"{ARN}shop")["Tags"] == {"team": "a", "x": "y"}
    url = aws("create-function-url-config", *name, "--auth-type", "NONE")
    assert url["FunctionUrl"].startswith("http://")
    layer = aws("publish-layer-version", "--layer-name", "base", "--zip-file", "fileb://code.zip")
    assert layer["Version"] == 1
    aws("delete-function", *name)
    assert "(ResourceNotFoundException)" in aws.refused("get-function", *name)


def test_keys(face: Served, tmp_path: Path) -> None:
    refused = Aws(face, tmp_path, INVOKER).refused("list-functions")
    assert "(AccessDeniedException)" in refused and INVOKER.secret not in refused
    assert "(InvalidSignatureException)" in Aws(face, tmp_path, Key(MANAGER.id, "no")).refused(
        "list-functions"
    )
    assert "(UnrecognizedClientException)" in Aws(face, tmp_path, Key("AKIDNO", "no")).refused(
        "list-functions"
    )
