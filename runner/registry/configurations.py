"""What a function's configuration may be, whichever face it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping

from snapfork.adapter.settings import SettingError, parse_all
from snapfork.runner.registry import names
from snapfork.runner.registry.errors import Invalid, NotFound
from snapfork.runner.registry.image import Image
from snapfork.runner.registry.model import Configuration, Hook, LayerVersion

LONGEST = 86400.0
"""Seconds of a run: FC's limit, the larger one."""
MOST_MEMORY = 32768
MOST_LAYERS = 5
MOST_ENV_BYTES = 4096
MOST_TAGS = 50
RESERVED = frozenset(
    {"_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV"}
    | {"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"}
    | {"AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"}
    | {"AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    | {"AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"}
)
"""Of Lambda functions (docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)."""
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check(configuration: Configuration, image: Image, before: Configuration | None = None) -> None:
    """Raises Invalid, naming the member, or NotFound for a layer that does not exist.

    `before` is what the function has: a layer in it may have been deleted since.
    """
    if (
        not configuration.handler
        or len(configuration.handler) > 256
        or re.search(r"\s", configuration.handler)
    ):
        raise Invalid(f"{configuration.handler!r} is not a handler: write module.function.", "handler")
    if not 0 < configuration.timeout <= LONGEST:
        raise Invalid(f"timeout is more than 0 and at most {LONGEST:.0f} seconds.", "timeout")
    if configuration.memory is not None and not 16 <= configuration.memory <= MOST_MEMORY:
        raise Invalid(f"memory is from 16 to {MOST_MEMORY} MB.", "memory")
    if configuration.concurrency is not None and not 1 <= configuration.concurrency <= 1000:
        raise Invalid("concurrency is from 1 to 1000.", "concurrency")
    _check_env(configuration)
    _check_layers(configuration, image, before.layers if before else ())
    _check_hook(configuration.initializer, 300.0, "initializer")
    _check_hook(configuration.pre_stop, 90.0, "pre_stop")
    try:
        parse_all(configuration.settings)
    except SettingError as error:
        raise Invalid(str(error), "settings") from None


def _check_env(configuration: Configuration) -> None:
    size = 0
    for name, value in configuration.env.items():
        if not isinstance(name, str) or not ENV_NAME.fullmatch(name):
            raise Invalid(f"{name!r} cannot be the name of an environment variable.", "env")
        if not isinstance(value, str) or "\0" in value:
            raise Invalid(f"The value of environment variable {name} is not a text.", "env")
        if configuration.dialect == "lambda" and name in RESERVED:
            raise Invalid(f"The environment variable {name} is reserved.", "env", "reserved")
        size += len(name.encode()) + len(value.encode(errors="surrogatepass"))
    if size > MOST_ENV_BYTES:
        raise Invalid(f"Environment variables are {size} bytes; {MOST_ENV_BYTES} is the most.", "env")


def _check_layers(configuration: Configuration, image: Image, has: tuple[str, ...]) -> None:
    if len(configuration.layers) > MOST_LAYERS:
        raise Invalid(f"A function has at most {MOST_LAYERS} layers.", "layers")
    seen = set()
    for arn in configuration.layers:
        layer, version = names.layer_of(arn)
        if layer in seen:
            raise Invalid(f"Two versions of layer {layer} are named.", "layers")
        seen.add(layer)
        if arn not in has and image.get(LayerVersion, layer, version) is None:
            raise NotFound(f"There is no version {version} of layer {layer}.", "layer", arn)


def _check_hook(hook: Hook | None, longest: float, member: str) -> None:
    if hook is not None and not 0 < hook.timeout <= longest:
        raise Invalid(f"The timeout of {member} is more than 0 and at most {longest:.0f} seconds.", member)


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises Invalid for too many or too long ones (the limits that both services share)."""
    if len(tags) > MOST_TAGS:
        raise Invalid(f"There are at most {MOST_TAGS} tags.", "tags")
    for name, value in tags.items():
        if not isinstance(name, str) or not 1 <= len(name) <= 128:
            raise Invalid(f"{name!r} cannot be the name of a tag.", "tags")
        if not isinstance(value, str) or len(value) > 256:
            raise Invalid(f"The value of tag {name} is a text of at most 256 characters.", "tags")
