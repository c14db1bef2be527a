"""What `runner serve` needs to know to serve deployed functions, and what it tells about them."""

from __future__ import annotations

import os
import pwd
import re
from typing import Any

from snapfork.runner.console import Console
from snapfork.runner.errors import UserError
from snapfork.runner.serve_config import ServeConfig

CONTROL = "127.0.0.1:9000"
"""A fixed port: boto3 and the FC SDK are configured with it."""
NOBODY = "nobody"


def check(
    deployed: bool,
    control_auth: str,
    user: str | None,
    template_memory: str | None,
    region: str,
    account: str,
) -> dict[str, Any]:
    """The members of ServeConfig. Raises UserError."""
    if not deployed:
        typed = {"--user": user, "--template-memory": template_memory}
        for option, value in typed.items():
            if value is not None:
                raise UserError(
                    f"{option} is for deployed functions, and a target is served.", "Leave one of them out."
                )
        return {}
    if control_auth not in ("keys", "none"):
        raise UserError(f"--control-auth {control_auth}: keys or none.")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", region):
        raise UserError(
            f"--region {region}: lower-case letters, digits and - are needed, such as eu-central-1."
        )
    if not re.fullmatch(r"[0-9]{12,16}", account):
        raise UserError(f"--account {account}: 12 to 16 digits are needed.")
    return {
        "control_auth": control_auth,
        "user": _user(user),
        "template_memory": _size(template_memory),
        "region": region,
        "account": account,
    }


def _user(name: str | None) -> tuple[int, int, str] | None:
    if os.geteuid() != 0:
        if name is not None:
            raise UserError(
                "--user needs a runner that is started as root.", "Leave it out: functions run as you."
            )
        return None
    try:
        entry = pwd.getpwnam(name or NOBODY)
    except KeyError:
        raise UserError(f"--user {name or NOBODY}: there is no such user on this machine.") from None
    return entry.pw_uid, entry.pw_gid, entry.pw_name


def _size(text: str | None) -> int:
    if text is None:
        return 0
    from snapfork.adapter import settings

    try:
        return int(settings.parse("memory", text))
    except (settings.SettingError, TypeError):
        raise UserError(f"--template-memory {text}: a size such as 2GB is needed.") from None


def lesson(config: ServeConfig) -> list[str]:
    """What clients need: where the key is, and lines to paste; {control} is the address of the API."""
    from snapfork.runner.registry.keys import FILE, Keys

    Keys(config.data_dir)  # the first start makes one
    if config.control is None:
        return []
    file = os.path.join(config.data_dir, FILE)
    return [
        'aws command: eval "$(runner key env)". boto3 and the FC SDK:',
        f'  key = json.load(open("{file}"))["keys"][0]',
        f'  boto3.client("lambda", endpoint_url="http://{{control}}", region_name="{config.region}", '
        'aws_access_key_id=key["id"], aws_secret_access_key=key["secret"])',
        f'  Client(Config(endpoint="{{control}}", protocol="http", region_id="{config.region}", '
        'access_key_id=key["id"], access_key_secret=key["secret"]))',
    ]


def tell(config: ServeConfig, console: Console) -> None:
    """Print what holds before anything has started."""
    if config.control_auth == "none":
        console.warn("--control-auth none: whoever reaches the control address may deploy and run code.")
    console.info(f"functions are kept in {config.data_dir}; deploy one: runner deploy DIRECTORY")
