"""The context of an invocation: what handlers of Lambda and of FC find in theirs, in one object.

`function` is what is known of the function: {"dialect", "name", "version", "memory" (MB), "region",
"account", "arn", "handler", "timeout" (s), "qualifier"}; `invocation` what is known of this call: {"id",
"deadline_ms", "qualifier", "trigger", "attempt", "client_context", "identity", "dialect"}. All are optional.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from snapfork.adapter.events.results import Fault

DEFAULT_TIMEOUT_S = 60.0
current: ContextVar[Context | None] = ContextVar("snapfork_context", default=None)
"""The context of the invocation whose handler is running."""
_CLIENT = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")
_stream = ""


class Context:
    """See the module. Attributes are those of awslambdaric's LambdaContext and of FC's Python runtimes.

    What a handler seldom asks for is made when it does. Raises Fault for a client context that is none.
    """

    def __init__(self, function: Mapping[str, Any], invocation: Mapping[str, Any]) -> None:
        self._function = function
        self._invocation = invocation
        self._deadline_ms = int(invocation.get("deadline_ms") or (time.time() + self._timeout) * 1000)
        self.aws_request_id = self.request_id = str(invocation.get("id") or uuid.uuid4())
        self.function_name = str(function.get("name") or "")
        version = str(function.get("version") or "$LATEST")
        own_word = version == "LATEST" and function.get("dialect") != "fc"  # FC says it as the runner does
        self.function_version = "$LATEST" if own_word else version
        self.memory_limit_in_mb = str(function.get("memory") or "")
        self.invoked_function_arn = str(invocation.get("arn") or function.get("arn") or "")
        self.region = str(function.get("region") or "")
        self.account_id = str(function.get("account") or "")
        self.tenant_id = invocation.get("tenant_id")
        self.retry_count = max(0, int(invocation.get("attempt") or 1) - 1)
        told = invocation.get("client_context")
        self.client_context = _client_context(told) if told else None

    @property
    def _timeout(self) -> float:
        return float(self._function.get("timeout") or DEFAULT_TIMEOUT_S)

    @property
    def _qualifier(self) -> str:
        told = self._invocation.get("qualifier") or self._function.get("qualifier")
        return str(told or self.function_version)

    @cached_property
    def log_group_name(self) -> str:
        return os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME") or f"/aws/lambda/{self.function_name}"

    @cached_property
    def log_stream_name(self) -> str:
        return os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME") or _log_stream(self.function_version)

    @cached_property
    def identity(self) -> SimpleNamespace:
        return _identity(self._invocation.get("identity"))

    @cached_property
    def log_project(self) -> str:
        return str(self._function.get("log_project") or "")

    @cached_property
    def log_store(self) -> str:
        return str(self._function.get("log_store") or "")

    @cached_property
    def function(self) -> SimpleNamespace:
        """FC's: what the function is configured to be."""
        known, timeout = self._function, self._timeout
        return SimpleNamespace(
            name=self.function_name,
            handler=str(known.get("handler") or ""),
            memory=known.get("memory") or "",
            timeout=int(timeout) if timeout.is_integer() else timeout,
            version_id=self.function_version,
            qualifier=self._qualifier,
            initializer=str(known.get("initializer") or ""),
            initialization_timeout=known.get("initialization_timeout") or 0,
        )

    @cached_property
    def service(self) -> SimpleNamespace:
        """FC 2's: functions have no service any more, but still its words."""
        return SimpleNamespace(
            name="",
            log_project=self.log_project,
            log_store=self.log_store,
            qualifier=self._qualifier,
            version_id=self.function_version,
        )

    @cached_property
    def credentials(self) -> SimpleNamespace:
        """FC's, from the function's environment."""
        return SimpleNamespace(
            access_key_id=os.environ.get("ALIBABA_CLOUD_ACCESS_KEY_ID", ""),
            access_key_secret=os.environ.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ""),
            security_token=os.environ.get("ALIBABA_CLOUD_SECURITY_TOKEN", ""),
        )

    @cached_property
    def tracing(self) -> SimpleNamespace:
        """FC's; nothing is traced here."""
        return SimpleNamespace(span_context="", jaeger_endpoint="", span_baggages={})

    @property
    def logger(self) -> logging.Logger:
        """FC's: the root logger, whose lines carry the request id."""
        return logging.getLogger()

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until this invocation is ended."""
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def log(self, message: object) -> None:
        """Write `message` to the function's log as it is."""
        sys.stdout.write(str(message))

    def __repr__(self) -> str:
        return f"Context(request_id={self.request_id!r}, function_name={self.function_name!r})"


def _client_context(told: Any) -> SimpleNamespace:
    """Lambda's: base64 of JSON {"client": {...}, "custom": {...}, "env": {...}}. Raises Fault."""
    try:
        text = told if str(told).lstrip().startswith("{") else base64.b64decode(told, validate=True)
        parsed = json.loads(text)
        client = parsed.get("client")
        if client is not None:
            client = SimpleNamespace(**{name: client.get(name) for name in _CLIENT})
        return SimpleNamespace(client=client, custom=parsed.get("custom"), env=parsed.get("env"))
    except (ValueError, AttributeError) as error:
        told = f"Unable to parse Client Context JSON: {error}"
        raise Fault("Runtime.LambdaContextUnmarshalError", told) from None


def _identity(told: Any) -> SimpleNamespace:
    known = told if isinstance(told, Mapping) else {}
    return SimpleNamespace(
        cognito_identity_id=known.get("cognitoIdentityId"),
        cognito_identity_pool_id=known.get("cognitoIdentityPoolId"),
    )


def _log_stream(version: str) -> str:
    global _stream
    if not _stream:
        _stream = uuid.uuid4().hex
    return f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{version}]{_stream}"
