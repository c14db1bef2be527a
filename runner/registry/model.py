"""The words of deployed functions as plain data; both API dialects are faces over these.

Times are seconds since the epoch (float), durations seconds, sizes bytes, memory MB as both dialects count
it. Records are never changed in place: `dataclasses.replace`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

LATEST = "LATEST"
"""The version that moves with every update. Lambda spells it $LATEST."""

Dialect = Literal["lambda", "fc", "runner"]
"""Who created a function: decides defaults, contexts, ids and log lines where a caller does not."""


@dataclass(frozen=True)
class Hook:
    """An initializer or pre-stop hook: `handler` is module.function, "" for the app's own POST /initialize
    or GET /pre-stop; `timeout` seconds."""

    handler: str
    timeout: float


@dataclass(frozen=True)
class Configuration:
    """Everything that a version freezes beside its code; explicit values, filled in by the creating face.

    handler: "module.attr" or "module:attr[()]" of an event handler or a web app. memory: MB, None no limit.
    concurrency: requests that an instance serves at a time, None by kind of app. layers: ARNs of layer
    versions, the first wins. settings: further names of `snapfork.adapter.settings`. extra: what a dialect
    stores and gives back and the runner has no use for, by the dialect's member names.
    """

    handler: str
    runtime: str
    timeout: float
    memory: int | None
    dialect: Dialect
    description: str = ""
    env: dict[str, str] = field(default_factory=dict)
    concurrency: int | None = None
    layers: tuple[str, ...] = ()
    initializer: Hook | None = None
    pre_stop: Hook | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


State = Literal["pending", "active", "failed"]


@dataclass(frozen=True)
class Version:
    """One version of a function, LATEST included.

    package: SHA-256 (hex) of the code in the content store; size: of the zip. revision: changes with every
    change. state, update_state: "pending" until its packages are installed and the gateway has said that
    this very code is up, or is not. "failed" has `reason`, one sentence with the installer's or the
    traceback's last lines (code `reason_code`). `serving` is the package that is served, "" for none yet: the
    one that is tried while that goes on; LATEST of a failed update goes on with what it had.
    """

    function: str
    version: str
    configuration: Configuration
    package: str
    size: int
    revision: str
    created: float
    modified: float
    state: State = "active"
    reason: str = ""
    reason_code: str = ""
    update_state: State = "active"
    serving: str = ""
    description: str = ""


@dataclass(frozen=True)
class Function:
    """A function as such. reserved: concurrency cap that is also a guarantee, None without; 0 stops it.

    disabled: FC's DisableFunctionInvocation, with its reason.
    """

    name: str
    dialect: Dialect
    created: float
    tags: dict[str, str] = field(default_factory=dict)
    reserved: int | None = None
    disabled: str | None = None


@dataclass(frozen=True)
class Alias:
    """A name for a version; `weights` are shares (0 to 1) of requests that go to other versions."""

    function: str
    name: str
    version: str
    weights: dict[str, float] = field(default_factory=dict)
    description: str = ""
    revision: str = ""
    created: float = 0.0
    modified: float = 0.0


@dataclass(frozen=True)
class AsyncConfig:
    """How asynchronous invocations of a qualifier ("" is the unqualified function) are executed.

    retries: after a function error; retry_delays: seconds before each, the last repeats. max_age: seconds,
    None without limit. on_success, on_failure: destinations: an ARN of a function, http(s)://, or
    file:///path.jsonl inside the runner's outbox. tasks: FC's async tasks are kept and can be listed.
    """

    function: str
    qualifier: str
    retries: int
    retry_delays: tuple[float, ...]
    max_age: float | None
    on_success: str = ""
    on_failure: str = ""
    dead_letter: str = ""
    tasks: bool = False
    created: float = 0.0
    modified: float = 0.0


@dataclass(frozen=True)
class ProvisionConfig:
    """Provisioned instances of a version or alias. target: asked for by default; scheduled and tracking: FC's
    policies as their JSON members; `extra` further members given back."""

    function: str
    qualifier: str
    target: int
    scheduled: tuple[dict[str, Any], ...] = ()
    tracking: tuple[dict[str, Any], ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    modified: float = 0.0


@dataclass(frozen=True)
class FunctionUrl:
    """A function URL of a qualifier ("" or an alias). auth: "NONE" or "AWS_IAM"."""

    function: str
    qualifier: str
    id: str
    auth: str
    cors: dict[str, Any] = field(default_factory=dict)
    invoke_mode: str = "BUFFERED"
    created: float = 0.0
    modified: float = 0.0


@dataclass(frozen=True)
class Trigger:
    """kind: "http", "timer", "oss" (FC) or "s3" (Lambda: a watched directory). config: the dialect's members,
    already checked."""

    function: str
    name: str
    kind: str
    qualifier: str
    config: dict[str, Any]
    enabled: bool = True
    description: str = ""
    id: str = ""
    created: float = 0.0
    modified: float = 0.0


@dataclass(frozen=True)
class CustomDomain:
    """A host of one's own. routes: [{"path", "function", "qualifier", "methods", "rewrite"}]."""

    name: str
    protocol: str
    routes: tuple[dict[str, Any], ...]
    extra: dict[str, Any] = field(default_factory=dict)
    created: float = 0.0
    modified: float = 0.0


@dataclass(frozen=True)
class LayerVersion:
    """One version of a layer: a zip laid under a function's code; python/ in it is on sys.path."""

    layer: str
    version: int
    package: str
    size: int
    description: str = ""
    runtimes: tuple[str, ...] = ()
    license: str = ""
    public: bool = False
    created: float = 0.0
    architectures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statement:
    """One statement of a function's or layer version's resource policy, as its JSON."""

    resource: str
    qualifier: str
    sid: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Key:
    """Credentials. role: "manage" (everything) or "invoke". functions: its limits, None for all."""

    id: str
    secret: str = field(repr=False)
    role: Literal["manage", "invoke"] = "manage"
    functions: tuple[str, ...] | None = None
    description: str = ""
    created: float = 0.0


@dataclass(frozen=True)
class Resolved:
    """What an invocation of NAME:QUALIFIER is to run, decided for this very request (alias weights drawn).

    unit: its name in the gateway, such as "shop:3" or "shop:LATEST". qualifier: as asked ("" for none).
    """

    function: Function
    version: Version
    qualifier: str
    unit: str
    alias: Alias | None = None
