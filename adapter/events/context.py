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
from types import SimpleNamespace
from typing import Any

from snapfork.adapter.events.results import Fault

DEFAULT_TIMEOUT_S = 60.0
current: ContextVar[Context | None] = ContextVar("snapfork_context", default=None)
"""The context of the invocation whose handler is running."""
_CLIENT = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")
_stream = ""


class Context:
    """See the module. Attributes are those of awslambdaric's LambdaContext and of FC's Python runtimes."""

    def __init__(self, function: Mapping[str, Any], invocation: Mapping[str, Any]) -> None:
        name = str(function.get("name") or "")
        version = str(function.get("version") or "$LATEST")
        memory = function.get("memory") or ""
        qualifier = str(invocation.get("qualifier") or function.get("qualifier") or version)
        timeout = float(function.get("timeout") or DEFAULT_TIMEOUT_S)
        self._deadline_ms = int(invocation.get("deadline_ms") or (time.time() + timeout) * 1000)
        self.aws_request_id = self.request_id = str(invocation.get("id") or uuid.uuid4())
        self.function_name = name
        self.function_version = "$LATEST" if version == "LATEST" else version
        self.memory_limit_in_mb = str(memory)
        self.invoked_function_arn = str(invocation.get("arn") or function.get("arn") or "")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME") or f"/aws/lambda/{name}"
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME") or _log_stream(
            self.function_version
        )
        self.tenant_id = invocation.get("tenant_id")
        self.client_context = _client_context(invocation.get("client_context"))
        self.identity = _identity(invocation.get("identity"))
        self.region = str(function.get("region") or "")
        self.account_id = str(function.get("account") or "")
        self.retry_count = max(0, int(invocation.get("attempt") or 1) - 1)
        self.log_project = str(function.get("log_project") or "")
        self.log_store = str(function.get("log_store") or "")
        self.function = SimpleNamespace(
            name=name,
            handler=str(function.get("handler") or ""),
            memory=memory,
            timeout=timeout,
            version_id=version,
            qualifier=qualifier,
            initializer=str(function.get("initializer") or ""),
            initialization_timeout=function.get("initialization_timeout") or 0,
        )
        self.service = SimpleNamespace(
            name="",
            log_project=self.log_project,
            log_store=self.log_store,
            qualifier=qualifier,
            version_id=version,
        )
        self.credentials = SimpleNamespace(
            access_key_id=os.environ.get("ALIBABA_CLOUD_ACCESS_KEY_ID", ""),
            access_key_secret=os.environ.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ""),
            security_token=os.environ.get("ALIBABA_CLOUD_SECURITY_TOKEN", ""),
        )
        self.tracing = SimpleNamespace(span_context="", jaeger_endpoint="", span_baggages={})

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


def _client_context(told: Any) -> SimpleNamespace | None:
    """Lambda's: base64 of JSON {"client": {...}, "custom": {...}, "env": {...}}. Raises Fault."""
    if not told:
        return None
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
