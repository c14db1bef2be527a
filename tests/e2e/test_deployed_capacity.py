"""Functions that are called more often than there are processors: waiting costs no function its time."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from server import HANG_S, Serve
from test_deployed_lambda import Lambda, serve

SLEEPS = """
import time

def handler(event, context):
    left = context.get_remaining_time_in_millis()
    time.sleep(event["sleep"])
    return left
"""
CALLS = """
import json, os
import boto3
from botocore.config import Config

def handler(event, context):
    if not event["depth"]:
        return [0]
    client = boto3.client("lambda", endpoint_url=os.environ["WHERE"], region_name="us-east-1",
                          aws_access_key_id=os.environ["ID"], aws_secret_access_key=os.environ["SECRET"],
                          config=Config(retries={"total_max_attempts": 1}))
    payload = json.dumps({"depth": event["depth"] - 1}).encode()
    answer = client.invoke(FunctionName=context.function_name, Payload=payload)
    assert "FunctionError" not in answer, answer["Payload"].read()
    return [event["depth"], *json.loads(answer["Payload"].read())]
"""


def narrow(**more: float) -> str:
    """SLEEPS with one instance."""
    settings = ", ".join(f"{name}={value!r}" for name, value in {"max_instances": 1, **more}.items())
    head = f"from snapfork.adapter import serverless\n@serverless({settings})\ndef handler"
    return SLEEPS.replace("import time\n", "").replace("def handler", f"import time\n{head}")


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    data = tmp_path_factory.mktemp("runner") / "data"
    with serve(data) as server:
        yield Many(server, data)


class Many(Lambda):
    """With a client that has a connection for each of many threads."""

    def __init__(self, server: Serve, data: Path) -> None:
        super().__init__(server, data)
        self.boto = boto3.client(
            "lambda",
            endpoint_url=self.boto.meta.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self.credentials.access_key,
            aws_secret_access_key=self.credentials.secret_key,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=HANG_S, max_pool_connections=100),
        )

    def at_once(self, name: str, count: int, sleep: float) -> Counter[str]:
        """What `count` calls at the same time came to: "ok", the error's type, or the API's refusal."""

        def call(_: int) -> str:
            try:
                said, answer = self.invoke(name, {"sleep": sleep})
            except self.boto.exceptions.TooManyRequestsException:
                return "refused"
            return str(said["errorType"]) if "FunctionError" in answer else "ok"

        with ThreadPoolExecutor(count) as threads:
            return Counter(threads.map(call, range(count)))


def test_healthy_functions_do_not_time_out_because_others_run(aws: Many) -> None:
    aws.create("sleeps", {"main.py": SLEEPS}, Timeout=3)
    assert aws.at_once("sleeps", 60, 1.5) == {"ok": 60}
    left, _ = aws.invoke("sleeps", {"sleep": 0})
    assert 1000 < left <= 3000


def test_what_has_no_room_is_refused_and_has_not_failed(aws: Many) -> None:
    aws.create("narrow", {"main.py": narrow(queue_timeout=1.0)}, Timeout=3)
    seen = aws.at_once("narrow", 5, 2.0)
    assert set(seen) == {"ok", "refused"}


def test_waiting_takes_nothing_of_the_time(aws: Many) -> None:
    aws.create("patient", {"main.py": narrow()}, Timeout=1)
    assert aws.at_once("patient", 6, 0.5) == {"ok": 6}


def test_a_function_may_call_itself(aws: Many) -> None:
    variables = {
        "WHERE": aws.boto.meta.endpoint_url, "ID": aws.credentials.access_key,
        "SECRET": aws.credentials.secret_key, "PYTHONPATH": str(Path(boto3.__file__).parent.parent),
    }  # fmt: skip
    own = f"python3.{sys.version_info[1]}"  # whose boto3 it borrows
    aws.create("deep", {"main.py": CALLS}, Timeout=30, Runtime=own, Environment={"Variables": variables})
    said, answer = aws.invoke("deep", {"depth": 12})
    assert "FunctionError" not in answer and said == list(range(12, -1, -1))


def test_the_account_says_how_many_there_may_be(aws: Many) -> None:
    limit = aws.boto.get_account_settings()["AccountLimit"]
    assert 200 <= limit["ConcurrentExecutions"] <= 1000
