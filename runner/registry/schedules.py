"""Times that come back: `@every 5m` and six-field cron, as timers and scheduled provisioning have them.

    @every 90s | 5m | 2h | 1d            of seconds, minutes, hours, days; also 1h30m
    [CRON_TZ=Asia/Shanghai] S M H D MON DOW     seconds first; UTC without a zone

`parse` reads both (timers), `cron` the six fields alone. croniter reads the fields; the grammar around them,
and what of croniter's own is no part of it (five or seven fields, @daily, H), is settled here.
"""

from __future__ import annotations

import datetime
import math
import re
import zoneinfo
from dataclasses import dataclass
from typing import Any

from croniter import CroniterBadDateError, croniter
from snapfork.runner.registry.errors import Invalid

SHORTEST, LONGEST = 1.0, 366 * 86400.0
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EVERY = re.compile(r"(?:\d{1,9}[smhd])+")
_FIELD = re.compile(r"[0-9A-Za-z,*/?-]+")
_MONTHS = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"
_DAYS = "MONTUEWEDTHUFRISATSUN"
_NAMES = frozenset({"L"} | {text[at : at + 3] for text in (_MONTHS, _DAYS) for at in range(0, len(text), 3)})


@dataclass(frozen=True)
class Every:
    """Each `seconds`, counted from the epoch, so that a restart keeps the beat."""

    seconds: float

    def after(self, moment: datetime.datetime) -> datetime.datetime | None:
        """The first time later than `moment`."""
        beats = math.floor(moment.timestamp() / self.seconds) + 1
        return datetime.datetime.fromtimestamp(beats * self.seconds, datetime.UTC)

    def before(self, moment: datetime.datetime) -> datetime.datetime | None:
        """The last time that is not later than `moment`."""
        beats = math.floor(moment.timestamp() / self.seconds)
        return datetime.datetime.fromtimestamp(beats * self.seconds, datetime.UTC)


@dataclass(frozen=True)
class Cron:
    """Six fields in a time zone."""

    fields: str
    zone: datetime.tzinfo

    def after(self, moment: datetime.datetime) -> datetime.datetime | None:
        """The first time later than `moment`, None if there is none (February 31st)."""
        return self._find(moment, "get_next")

    def before(self, moment: datetime.datetime) -> datetime.datetime | None:
        """The last time that is not later than `moment`, None if there was none."""
        return self._find(moment + datetime.timedelta(seconds=1), "get_prev")

    def _find(self, moment: datetime.datetime, step: str) -> datetime.datetime | None:
        whole = moment.astimezone(self.zone).replace(microsecond=0)
        if step == "get_prev" and moment.microsecond == 0:
            whole = moment.astimezone(self.zone)
        found: Any = croniter(self.fields, whole, second_at_beginning=True, ret_type=datetime.datetime)
        try:
            return datetime.datetime.fromtimestamp(getattr(found, step)().timestamp(), datetime.UTC)
        except CroniterBadDateError:
            return None


Schedule = Every | Cron


def parse(text: str) -> Schedule:
    """A timer's expression. Raises Invalid (member "cronExpression")."""
    if text.startswith("@every "):
        return _every(text.removeprefix("@every ").strip())
    zone: datetime.tzinfo = datetime.UTC
    if text.startswith(("CRON_TZ=", "TZ=")):
        name, _, text = text.partition("=")[2].partition(" ")
        try:
            zone = zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise Invalid(f"There is no time zone {name!r}.", "cronExpression") from None
    return cron(text, zone)


def cron(fields: str, zone: datetime.tzinfo) -> Cron:
    """Six fields. Raises Invalid (member "cronExpression")."""
    parts = fields.split()
    wrong = Invalid(
        f"{fields!r} is not a cron expression: six fields, seconds first, such as 0 0 4 * * *, or @every 5m.",
        "cronExpression",
    )
    words = {word.upper() for part in parts for word in re.findall(r"[A-Za-z]+", part)}
    if len(parts) != 6 or not all(_FIELD.fullmatch(part) for part in parts) or words - _NAMES:
        raise wrong
    text = " ".join(parts)
    try:
        croniter(text, second_at_beginning=True)
    except (ValueError, KeyError, AttributeError, TypeError):  # croniter's own errors are ValueErrors
        raise wrong from None
    return Cron(text, zone)


def _every(text: str) -> Every:
    if not _EVERY.fullmatch(text):
        raise Invalid(
            f"@every {text} is not an interval: write @every 90s, 5m, 2h or 1h30m.", "cronExpression"
        )
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))
    if not SHORTEST <= seconds <= LONGEST:
        raise Invalid(f"@every {text} is less than a second or more than a year.", "cronExpression")
    return Every(float(seconds))
