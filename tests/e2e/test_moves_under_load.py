"""Code, aliases and weights that move under load: sixteen kept connections lose nothing."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from fc_served import zipped
from server import HANG_S, Serve

pytestmark = pytest.mark.once

CONNECTIONS = 16
ROLE = "arn:aws:iam::000000000000:role/any"
APP = """
NUMBER = {number!r}

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [NUMBER.encode()]
"""


class Clients:
    """Connections that ask for one path for ever. `answers`: what came; `wrong`: what must not have."""

    def __init__(self, server: Serve, path: str) -> None:
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._server = server
        self._path = path
        self._over = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CONNECTIONS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(HANG_S)

    def wait(self, enough: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: enough() or bool(self.wrong), HANG_S), self.answers
        assert not self.wrong, self.wrong[:3]

    def settle_on(self, answer: str) -> None:
        """Wait until it is all that comes: a hundred in a row for each connection."""
        before = Counter[str]()

        def only() -> bool:
            nonlocal before
            if any(self.answers[one] != before[one] for one in self.answers if one != answer):
                before = self.answers.copy()
            return self.answers[answer] - before[answer] >= 100 * CONNECTIONS

        self.wait(only)

    def _ask(self) -> None:
        client = self._server.client()
        try:
            while not self._over.is_set():
                client.request("GET", self._path)
                got = client.getresponse()
                text = got.read().decode()
                with self._changed:
                    if got.status == 200:
                        self.answers[text] += 1
                    else:
                        self.wrong.append(f"{got.status} {text}")
                    self._changed.notify_all()
        except (OSError, http.client.HTTPException) as error:
            with self._changed:
                self.wrong.append(repr(error))
                self._changed.notify_all()
        finally:
            client.close()


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[tuple[Serve, Any]]:
    data = tmp_path / "data"
    with Serve("--control", "127.0.0.1:0", data_dir=data) as server:
        key = json.loads((data / "keys").read_text())["keys"][0]
        control = urlsplit(server.wait_for(r"control: (http://\S+)/status")[1])
        yield (
            server,
            boto3.client(
                "lambda",
                endpoint_url=f"http://{control.netloc}",
                region_name="us-east-1",
                aws_access_key_id=key["id"],
                aws_secret_access_key=key["secret"],
                config=Config(retries={"total_max_attempts": 1}, read_timeout=HANG_S),
            ),
        )


def published(boto: Any, number: str) -> None:
    code = zipped({"shop.py": APP.format(number=number)})
    for waiter in ("function_active_v2", "function_updated_v2"):
        pace = {"Delay": 0.1, "MaxAttempts": 600}
        boto.get_waiter(waiter).wait(FunctionName="shop", WaiterConfig=pace)
    boto.update_function_code(FunctionName="shop", ZipFile=code, Publish=True)


def test_aliases_weights_and_code_move_under_sixteen_connections(
    aws: tuple[Serve, Any], soak: Callable[[int, int], int], record: Callable[[str, object], None]
) -> None:
    server, boto = aws
    boto.create_function(
        FunctionName="shop",
        Code={"ZipFile": zipped({"shop.py": APP.format(number="1")})},
        Runtime="python3.11",
        Handler="shop.app",
        Role=ROLE,
        Timeout=30,
        MemorySize=512,
        Publish=True,
    )
    published(boto, "2")
    boto.create_alias(FunctionName="shop", Name="live", FunctionVersion="1")
    for qualifier in ({"Qualifier": "live"}, {}):
        url = boto.create_function_url_config(FunctionName="shop", AuthType="NONE", **qualifier)
        if qualifier:
            path = f"/lambda-url/{urlsplit(url['FunctionUrl']).hostname.split('.')[0]}/"
    moves = soak(4, 60)
    with Clients(server, path) as clients:
        clients.settle_on("1")
        for move in range(moves):
            version = "21"[move % 2]
            boto.update_alias(FunctionName="shop", Name="live", FunctionVersion=version)
            clients.settle_on(version)
        boto.update_alias(
            FunctionName="shop",
            Name="live",
            FunctionVersion="1",
            RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}},
        )
        before = clients.answers.copy()
        clients.wait(lambda: all(clients.answers[one] > before[one] + 200 for one in "12"))
    assert clients.wrong == []
    total = clients.answers.total()
    with Clients(server, "/shop/") as clients:
        clients.settle_on("2")
        for number in range(3, 3 + soak(3, 30)):
            published(boto, str(number))
            clients.settle_on(str(number))
    assert clients.wrong == []
    record("requests over moves of alias and code, none lost", total + clients.answers.total())
