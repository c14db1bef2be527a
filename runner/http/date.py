"""The Date of a response."""

from __future__ import annotations

import time

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


def http_date(seconds: float) -> bytes:
    """The time as IMF-fixdate (RFC 9110, 5.6.7); `email.utils` goes through datetime, at 25 page copies."""
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(seconds)
    date = (_DAYS[weekday], day, _MONTHS[month - 1], year, hour, minute, second)
    return b"%s, %02d %s %04d %02d:%02d:%02d GMT" % date
