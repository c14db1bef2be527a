"""`serverless(app).deploy(url)`: a live app, also of a notebook, becomes a function of a runner elsewhere.

What goes over is a snapshot. The runner restores and checks it in a process that it throws away, and signs it
anew with its own key: the caller's key need not be trusted there. Standard library only.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

URL, KEY_ID, KEY_SECRET = "SNAPFORK_URL", "SNAPFORK_KEY_ID", "SNAPFORK_KEY_SECRET"
TIMEOUT_S = 300.0
STARTED_S = 600.0
POLL_S = 0.1
_SERVICE = "snapfork"
_REGION = "local"


class DeployError(Exception):
    """The runner refused, or could not be reached; one sentence."""


def deploy(
    app: Any,
    url: str | None = None,
    name: str | None = None,
    *,
    key: tuple[str, str] | None = None,
    alias: str | None = None,
    publish: bool = False,
    **configuration: Any,
) -> dict[str, Any]:
    """Deploy `app` to the runner whose control API is at `url` (default: SNAPFORK_URL, then this machine's).

    name: of the function, by default that of the module it is defined in. key: (id, secret), by default
    SNAPFORK_KEY_ID and SNAPFORK_KEY_SECRET, then the key file of this user's own runner. alias: publish a
    version and move this alias to it. configuration: timeout (s), memory (MB), env, description ...; what
    `serverless` was told holds where it says nothing.

    Returns {"version": {...}, "addresses": [...]} once it has started. Raises DeployError, also where it does
    not start and the code before goes on, and SnapshotError for an app that
    cannot be captured.
    """
    import json
    import os
    import tempfile

    from snapfork.adapter import marks, snapshot

    address = url or os.environ.get(URL) or "http://127.0.0.1:9000"
    chosen = name or _name_of(app)
    identity, secret = key or _key()
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "app.snap")
        snapshot(app).save(path)
        with open(path, "rb") as file:
            package = file.read()
    noted = marks.find(app)
    if noted is not None and "timeout" in noted.settings:
        configuration.setdefault("timeout", noted.settings["timeout"])
    caller = _Caller(address, identity, secret)
    path = f"/v1/functions/{chosen}"
    made = caller.ask("POST", path, _packed({"configuration": configuration}, package))
    made["version"] = _started(caller, path, made["version"])
    if publish or alias:
        revision = json.dumps({"revision": made["version"]["revision"]}).encode()
        made["version"] = _started(caller, path, caller.ask("POST", f"{path}/versions", revision))
    if alias:
        version = {"version": made["version"]["version"]}
        made["alias"] = caller.ask("PUT", f"{path}/aliases/{alias}", json.dumps(version).encode())
    return made | caller.ask("GET", f"{path}/addresses", b"")


def _started(caller: _Caller, path: str, version: dict[str, Any]) -> dict[str, Any]:
    """The version once the runner has started it. Raises DeployError if it does not start."""
    import time

    number, revision = version["version"], version["revision"]
    deadline = time.monotonic() + STARTED_S
    while "pending" in (version["state"], version["update_state"]) and time.monotonic() < deadline:
        time.sleep(POLL_S)
        known = caller.ask("GET", f"{path}/versions", b"")["versions"]
        version = next((one for one in known if one["version"] == number), version)
        if version["revision"] != revision:
            raise DeployError("Another deployment has taken the place of this one.")
    if "failed" in (version["state"], version["update_state"]):
        raise DeployError(str(version["reason"]))
    return version


def _packed(about: dict[str, Any], package: bytes) -> bytes:
    """Four bytes of length, JSON, the package: what the runner's native face takes."""
    import json

    head = json.dumps(about).encode()
    return len(head).to_bytes(4, "big") + head + package


def _name_of(app: Any) -> str:
    for thing in (getattr(app, "import_name", None), getattr(app, "__module__", None)):
        last = str(thing or "").rpartition(".")[2]
        if last and last not in ("__main__", "app", "applications"):
            return last
    raise DeployError("What shall the function be called? Say it: deploy(url, 'shop').")


def _key() -> tuple[str, str]:
    import json
    import os

    given = os.environ.get(KEY_ID), os.environ.get(KEY_SECRET)
    if given[0] and given[1]:
        return given[0], given[1]
    home = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    try:
        with open(os.path.join(home, "snapfork", "keys")) as file:
            first = json.load(file)["keys"][0]
        return first["id"], first["secret"]
    except (OSError, ValueError, LookupError, TypeError):
        raise DeployError(
            f"No key of a runner is here: set {KEY_ID} and {KEY_SECRET}, or give key=(id, secret)."
        ) from None


class _Caller:
    """Signed requests to one control API."""

    def __init__(self, url: str, identity: str, secret: str) -> None:
        from urllib.parse import urlsplit

        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DeployError(f"{url} is not the address of a runner: http://HOST:PORT is needed.")
        self._parts = parts
        self._url = url
        self._identity = identity
        self._secret = secret

    def ask(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """The JSON of an answer. Raises DeployError."""
        import http.client
        import json

        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, self._headers(method, path, body))
            response = connection.getresponse()
            answer = json.loads(response.read() or b"{}")
        except (OSError, http.client.HTTPException) as error:
            raise DeployError(f"The runner at {self._url} does not answer: {error}.") from None
        except ValueError:
            raise DeployError(f"What is at {self._url} does not answer like a runner.") from None
        finally:
            connection.close()
        if response.status >= 400:
            raise DeployError(str(answer.get("error", {}).get("message") or f"HTTP {response.status}"))
        return dict(answer)

    def _headers(self, method: str, path: str, body: bytes) -> dict[str, str]:
        """Signature Version 4 (AWS General Reference, "Create a signed request"); no escapes in paths."""
        import hashlib
        import hmac
        import secrets
        import time

        def digest(key: bytes, text: str) -> bytes:
            return hmac.new(key, text.encode(), hashlib.sha256).digest()

        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = {
            "amz-sdk-invocation-id": secrets.token_hex(16),  # so that equal requests are told apart
            "host": self._parts.netloc,
            "x-amz-date": stamp,
        }
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        hashed = hashlib.sha256(body).hexdigest()
        canonical = f"{method}\n{path}\n\n{lines}\n{names}\n{hashed}"
        scope = f"{stamp[:8]}/{_REGION}/{_SERVICE}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signing = digest(f"AWS4{self._secret}".encode(), stamp[:8])
        for part in (_REGION, _SERVICE, "aws4_request"):
            signing = digest(signing, part)
        signature = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
        credential = f"Credential={self._identity}/{scope}, SignedHeaders={names}, Signature={signature}"
        return headers | {"authorization": f"AWS4-HMAC-SHA256 {credential}"}
