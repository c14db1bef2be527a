"""How many instances a provision config asks for: FC's scheduled actions and target tracking, as pure policy.

While any policy is in force the largest of what they ask for counts, else the default. Target tracking starts
instances at once and lets go of them slowly:

    up    ceil(current x utilisation / target)
    down  current - floor(current x DAMPING x (1 - utilisation / target))

(help.aliyun.com, Function Compute: auto scaling of provisioned instances; 100 instances at 0.4 against 0.5 go
to 82). Times without a zone are UTC, or local to the policy's `timeZone`.
"""

from __future__ import annotations

import datetime
import math
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import Any

from snapfork.runner.registry import schedules
from snapfork.runner.registry.errors import Invalid
from snapfork.runner.registry.model import ProvisionConfig

DAMPING = 0.9
METRICS = ("ProvisionedConcurrencyUtilization", "CPUUtilization")
"""FC's third, GPUMemUtilization, has nothing here that could be measured."""
MOST = 10_000
_CRON = re.compile(r"cron\((?P<fields>[^()]+)\)")
_AT = re.compile(r"at\((?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?)Z?\)")


def check(config: ProvisionConfig) -> None:
    """Raises Invalid, in one sentence, for a policy that cannot be."""
    seen: set[str] = set()
    for kind, policies in (("scheduled action", config.scheduled), ("tracking policy", config.tracking)):
        for policy in policies:
            name = policy.get("name")
            if not isinstance(name, str) or not name:
                raise Invalid(f"A {kind} needs a name.", "name")
            if name in seen:
                raise Invalid(f"There are two policies called {name}.", "name")
            seen.add(name)
            begin, end = _period(policy)
            if begin is not None and end is not None and begin >= end:
                raise Invalid(f"The policy {name} ends before it starts.", "endTime")
    for action in config.scheduled:
        _number(action, "target", 0, MOST)
        _last_time(action, datetime.datetime.now(datetime.UTC))
    for policy in config.tracking:
        if policy.get("metricType") not in METRICS:
            raise Invalid(f"metricType of {policy['name']} is one of {', '.join(METRICS)}.", "metricType")
        if _number(policy, "metricTarget", 0, 1) == 0:
            raise Invalid(f"metricTarget of {policy['name']} is more than 0.", "metricTarget")
        if _number(policy, "minCapacity", 0, MOST) > _number(policy, "maxCapacity", 1, MOST):
            raise Invalid(f"minCapacity of {policy['name']} is above its maxCapacity.", "minCapacity")


def target(config: ProvisionConfig, now: float, current: int, measured: Mapping[str, float]) -> int:
    """What `config` asks for. now: seconds since the epoch. current: instances it had last.

    measured: metric -> 0 to 1, those that are known; a tracking policy whose metric is not keeps `current`.
    """
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    asked = [
        int(action["target"])
        for action in config.scheduled
        if _in_force(action, moment) and _last_time(action, moment) is not None
    ]
    asked += [
        tracked(policy, current, measured.get(policy["metricType"]))
        for policy in config.tracking
        if _in_force(policy, moment)
    ]
    return max(asked, default=config.target)


def tracked(policy: Mapping[str, Any], current: int, utilisation: float | None) -> int:
    """What one target-tracking policy asks for."""
    least, most = int(policy["minCapacity"]), int(policy["maxCapacity"])
    wanted = current
    if utilisation is not None:
        ratio = utilisation / float(policy["metricTarget"])
        if ratio >= 1:
            wanted = math.ceil(round(current * ratio, 9))
        else:
            wanted = current - math.floor(round(current * DAMPING * (1 - ratio), 9))
    return min(max(wanted, least), most)


def shares(total: int, choices: Sequence[tuple[str, float]]) -> dict[str, int]:
    """`total` instances dealt out to versions by their shares of requests, which sum to 1.

    By largest remainder: what is left after whole parts goes to those who lack most, earlier ones first.
    """
    exact = [(version, round(total * weight, 9)) for version, weight in choices]
    dealt = {version: math.floor(part) for version, part in exact}
    left = total - sum(dealt.values())
    for version, _ in sorted(exact, key=lambda one: math.floor(one[1]) - one[1])[: max(0, left)]:
        dealt[version] += 1
    return dealt


def _in_force(policy: Mapping[str, Any], moment: datetime.datetime) -> bool:
    begin, end = _period(policy)
    return (begin is None or begin <= moment) and (end is None or moment < end)


def _period(policy: Mapping[str, Any]) -> tuple[datetime.datetime | None, datetime.datetime | None]:
    zone = _zone(policy)
    return _moment(policy, "startTime", zone), _moment(policy, "endTime", zone)


def _moment(policy: Mapping[str, Any], member: str, zone: datetime.tzinfo) -> datetime.datetime | None:
    text = policy.get(member)
    if not text:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise Invalid(f"{member} is a time such as 2026-01-31T08:00:00Z, not {text!r}.", member) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _last_time(action: Mapping[str, Any], moment: datetime.datetime) -> datetime.datetime | None:
    """When a scheduled action was last due before `moment`, within its period; None if never yet."""
    text, zone = str(action.get("scheduleExpression") or ""), _zone(action)
    begin, _ = _period(action)
    if match := _AT.fullmatch(text):
        try:
            due = datetime.datetime.fromisoformat(match["time"]).replace(tzinfo=zone)
        except ValueError:
            raise Invalid(f"{text} is not a time.", "scheduleExpression") from None
        return due if due <= moment else None
    if match := _CRON.fullmatch(text):
        last = schedules.cron(match["fields"], zone).before(moment)
        return last if last is not None and (begin is None or last >= begin) else None
    raise Invalid(
        f"scheduleExpression is cron(0 0 20 * * *) or at(2026-01-31T08:00:00), not {text!r}.",
        "scheduleExpression",
    )


def _zone(policy: Mapping[str, Any]) -> datetime.tzinfo:
    name = policy.get("timeZone")
    if not name:
        return datetime.UTC
    try:
        return zoneinfo.ZoneInfo(str(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(f"There is no time zone {name!r}.", "timeZone") from None


def _number(policy: Mapping[str, Any], member: str, least: float, most: float) -> float:
    value = policy.get(member)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise Invalid(f"{member} of {policy.get('name')} is from {least:g} to {most:g}.", member)
    return value
