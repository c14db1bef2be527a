"""Signed calls of the native face: of this machine's runner, or of one elsewhere."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import quote, urlencode, urlsplit

import typer
from snapfork.runner import runtime_dir
from snapfork.runner.cli.control_client import UnixConnection, wait_started
from snapfork.runner.cli.starting import wait_findable
from snapfork.runner.errors import UserError

URL, KEY_ID, KEY_SECRET = "SNAPFORK_URL", "SNAPFORK_KEY_ID", "SNAPFORK_KEY_SECRET"
START = "Start one: runner serve"
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        envvar=URL,
        show_default=False,
        help=f"A runner elsewhere (http://HOST:PORT of its control API), with {KEY_ID} and {KEY_SECRET}. "
        "Without it: the runner on this machine.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The function.")]


@dataclass
class Answer:
    """What a runner answered with a status below 400. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body)) if self.body else {}


class Remote:
    """One runner's native face."""

    def __init__(
        self, connection: http.client.HTTPConnection, host: str, key: tuple[str, str], where: str
    ) -> None:
        self._connection = connection
        self._host = host
        self._key = key
        self._where = where

    def call(
        self,
        method: str,
        *path: str,
        body: bytes = b"",
        query: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        """Ask, signed. Raises UserError with the runner's own sentence, or when there is no answer."""
        target = "/v1/" + "/".join(quote(part, safe="") for part in path)
        asked = urlencode({name: value for name, value in (query or {}).items() if value not in (None, "")})
        headers = {"host": self._host, "content-type": content_type}
        headers |= self._signed(method, target, asked, headers, body)
        try:
            self._connection.request(method, f"{target}?{asked}" if asked else target, body, headers)
            response = self._connection.getresponse()
            answer = Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        except TimeoutError:
            raise UserError(
                f"{self._where} did not answer within {self._connection.timeout:g} s; what was asked goes on."
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise UserError(
                f"{self._where} does not answer: {getattr(error, 'strerror', None) or error}.",
                "`runner ps` lists those here.",
            ) from None
        if answer.status >= 400:
            raise _refused(answer, self._where)
        return answer

    def _signed(
        self, method: str, target: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str]:
        from snapfork.runner.faces.signing import sign_sigv4
        from snapfork.runner.registry.model import Key

        if not self._key[0]:
            return {}
        signed = sign_sigv4(
            method,
            target.encode(),
            query.encode(),
            [(name.encode(), value.encode()) for name, value in headers.items()],
            sha256(body).hexdigest(),
            Key(*self._key),
            time.time(),
            "local",
            "snapfork",
        )
        return {name.decode(): value.decode() for name, value in signed}


def connect(url: str | None, timeout: float = 60.0) -> Remote:
    """The runner at `url`, or the one on this machine. Raises UserError."""
    return _elsewhere(url, timeout) if url else _here(timeout)


def here() -> runtime_dir.Found:
    """The one runner of this machine that serves deployed functions, once it is up. Raises UserError."""
    found = _serving()
    if not found:
        wait_findable()
        found = _serving()
    session = os.environ.get("XDG_RUNTIME_DIR")
    near = [one for one in found if session and one.path.startswith(os.path.join(session, ""))]
    if len(near) == 1:
        found = near  # of several, the one of this session
    if not found:
        other = "Runners of yours that were given a target serve it, and nothing that is deployed. "
        raise UserError(
            f"No runner of yours serves deployed functions. {other if runtime_dir.find() else ''}".strip(),
            START,
        )
    if len(found) > 1:
        raise UserError(
            f"Several runners serve deployed functions (pids {', '.join(str(one.pid) for one in found)}).",
            f"Name one by the address of its control API: --url or {URL}.",
        )
    wait_started(found[0])
    return found[0]


def _serving() -> list[runtime_dir.Found]:
    return [one for one in runtime_dir.find() if one.note.get("deployed")]


def _here(timeout: float) -> Remote:
    from snapfork.runner.registry import keys

    one = here()
    key = os.environ.get(KEY_ID, ""), os.environ.get(KEY_SECRET, "")
    if not all(key):
        own = keys.first(one.note["data_dir"])
        key = (own.id, own.secret) if own else ("", "")
    return Remote(UnixConnection(one.socket, timeout), "localhost", key, f"The runner with pid {one.pid}")


def _elsewhere(url: str, timeout: float) -> Remote:
    parts = urlsplit(url if "//" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise UserError(f"--url {url}: http://HOST:PORT is needed.")
    key = os.environ.get(KEY_ID, ""), os.environ.get(KEY_SECRET, "")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return Remote(
        kind(parts.hostname, parts.port, timeout=timeout), parts.netloc, key, f"The runner at {url}"
    )


def _refused(answer: Answer, where: str) -> UserError:
    try:
        error = answer.json()["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return UserError(
            f"{where} answered {answer.status}, and not like a runner.", "Is it its control API?"
        )
    hint = None
    if code.startswith("signature_"):
        hint = f"Set {KEY_ID} and {KEY_SECRET} to a key of that runner; `runner key create` makes one there."
    return UserError(message, hint)


def qualified(text: str) -> tuple[str, str]:
    """ "shop:live" as ("shop", "live")."""
    name, _, qualifier = text.partition(":")
    if not name:
        raise UserError(f"'{text}' names no function.", "For example: shop, shop:3 or shop:live")
    return name, qualifier


def show_json(value: Any) -> None:
    """Print an answer for machines."""
    typer.echo(json.dumps(value, indent=2))


def tell(as_json: bool, value: Any, sentence: str) -> None:
    """Print what has been done, for machines or for people."""
    show_json(value) if as_json else typer.echo(sentence)


def when(seconds: float) -> str:
    """A time for people, in UTC; "-" for none."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) if seconds else "-"
