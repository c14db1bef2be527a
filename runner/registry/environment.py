"""The environment of a function's processes before what its configuration declares; none is the runner's."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from snapfork.runner.registry.core import Site
from snapfork.runner.registry.model import LATEST, Version
from snapfork.runner.registry.places import TEMPORARY
from snapfork.runner.units import OPT_VARIABLE


@dataclass(frozen=True)
class Where:
    """Directories of one version: its code, its function's HOME, its layers, and lib and bin in them."""

    code: str
    home: str
    layers: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


def of(version: Version, where: Where, site: Site) -> dict[str, str]:
    """PATH, LANG, TZ, HOME, TMPDIR and the variables of the dialect that made the function.

    Lambda's are those of docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html but for credentials
    and what concerns its own runtime; FC's those of its built-in runtimes.
    """
    variables = {
        "PATH": ":".join([*where.programs, site.path]),
        "LANG": site.language,
        "TZ": site.time_zone,
        "HOME": where.home,
        "TMPDIR": f"{where.home}/{TEMPORARY}",  # /tmp is everybody's
    }
    if where.layers:
        variables[OPT_VARIABLE] = ":".join(where.layers)  # for where they cannot be mounted in /opt
    if where.libraries:
        variables["LD_LIBRARY_PATH"] = ":".join(where.libraries)
    dialect = version.configuration.dialect
    own = _of_lambda if dialect == "lambda" else _of_fc if dialect == "fc" else _of_runner
    return variables | own(version, where, site)


def _of_lambda(version: Version, where: Where, site: Site) -> dict[str, str]:
    configuration = version.configuration
    number = f"${LATEST}" if version.version == LATEST else version.version
    # One stream per version, not per instance, which would make every instance's environment another one.
    stream = hashlib.sha256(f"{version.function}:{number}:{version.created}".encode()).hexdigest()[:32]
    day = time.strftime("%Y/%m/%d", time.gmtime(version.created))
    return {
        "AWS_LAMBDA_FUNCTION_NAME": version.function,
        "AWS_LAMBDA_FUNCTION_VERSION": number,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration.memory or ""),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{version.function}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{day}/[{number}]{stream}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{configuration.runtime}",
        "AWS_REGION": site.region,
        "AWS_DEFAULT_REGION": site.region,
        "_HANDLER": configuration.handler,
        "LAMBDA_TASK_ROOT": where.code,
    }


def _of_fc(version: Version, where: Where, site: Site) -> dict[str, str]:
    configuration = version.configuration
    return {
        "FC_FUNCTION_NAME": version.function,
        "FC_FUNCTION_HANDLER": configuration.handler,
        "FC_FUNCTION_MEMORY_SIZE": str(configuration.memory or ""),
        "FC_FUNC_CODE_PATH": where.code,
        "FC_VERSION_ID": version.version,
        "FC_QUALIFIER": version.version,
        "FC_TIMEOUT": f"{configuration.timeout:g}",
        "FC_ACCOUNT_ID": site.account,
        "FC_REGION": site.region,
    }


def _of_runner(version: Version, where: Where, site: Site) -> dict[str, str]:
    return {
        "SNAPFORK_FUNCTION_NAME": version.function,
        "SNAPFORK_FUNCTION_VERSION": version.version,
        "SNAPFORK_CODE": where.code,
    }
