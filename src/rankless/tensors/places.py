"""Where the slices of a mode lie, read from its labels: dates, numbers, months, weekdays, hours.

`read` looks at one mode alone; `stacked` puts modes together that count parts of the same time, as
day and hour, or year and month.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

DAYS = {"year": 365.2425, "month": 365.2425 / 12, "week": 7.0, "day": 1.0, "hour": 1 / 24, "minute": 1 / 1440, "second": 1 / 86400}

FILLS = 0.25  # share of a day, a year, that must be listed for its hours, its months, to continue in the next one

# what a mode may be called whose numbers count a unit
NAMED = {
    "year": ("year", "years", "yr", "yyyy"),
    "month": ("month", "months", "mon", "month_of_year", "moy"),
    "week": ("week", "weeks", "weekofyear", "week_of_year"),
    "day": (
        "day",
        "days",
        "weekday",
        "dow",
        "day_of_week",
        "dayofweek",
        "doy",
        "yday",
        "day_of_year",
        "dayofyear",
        "day_of_month",
        "dayofmonth",
    ),
    "hour": ("hour", "hours", "hr", "hod", "hourofday", "hour_of_day"),
    "minute": ("minute", "minutes", "minuteofhour", "minute_of_hour"),
    "second": ("second", "seconds", "sec"),
}
UNITS = {name: unit for unit, names in NAMED.items() for name in names}

ISO = re.compile(r"[+-]?\d{4,}-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d*)?)?)?)?)?(Z|\+00:00)?")
QUARTER = re.compile(r"(\d{4})-?Q([1-4])", re.IGNORECASE)
CLOCK = re.compile(r"([01]?\d|2[0-4])(?::([0-5]\d)(?::([0-5]\d))?|h)")
HALF_DAY = re.compile(r"(1[0-2]|0?\d)(?::([0-5]\d))? ?([ap])\.?m\.?", re.IGNORECASE)
NUMBERED = re.compile(r"(.*?)([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(\D*)")


@dataclass(frozen=True, eq=False)
class Places:
    """Where the slices of a mode lie.

    Attributes
    ----------
    at : float64, shape ``(d,)``: position of each slice; moments in days since the first, all else in `unit`.
    unit : the part of time that a step counts, or None for plain numbers.
    start : of moments alone, the first one; None otherwise.
    """

    at: np.ndarray
    unit: str | None
    start: np.datetime64 | None = None


def read(labels: np.ndarray | None, size: int, name: str = "") -> Places | None:
    """Where the slices of a mode lie according to its labels and its name; None where these give no order.

    Numbers of a mode called ``hour``, ``day``, ``weekday``, ``week``, ``month`` or ``year`` count that unit, and so
    do slices without labels, which are numbered from 0. Without such a name they are plain numbers.

    >>> read(np.array(["2013-03-01", "2013-01-01", "2013-02-01"]), 3).at.tolist()
    [59.0, 0.0, 31.0]
    >>> read(np.array(["Feb", "Jan"]), 2), read(np.array(["oak", "elm"]), 2)
    (Places(at=array([1., 0.]), unit='month', start=None), None)
    """
    unit = UNITS.get(name.strip().lower().replace(" ", "_"))
    if labels is None:
        return None if unit is None else Places(np.arange(float(size)), unit)
    if labels.dtype.kind == "M":
        return _moments(labels)
    if labels.dtype.kind == "m":
        return _spans(labels)
    if labels.dtype.kind in "iuf":
        numbers = _since_first(labels)
        return Places(numbers, unit) if np.isfinite(numbers).all() else None
    if labels.dtype.kind in "OUS" and len(labels):
        return _texts(labels, unit)
    return None


def _since_first(numbers: np.ndarray) -> np.ndarray:
    """Numbers as float64; integers too large for that are counted from the least."""
    if numbers.dtype.kind in "iu" and len(numbers) and np.abs(numbers.astype(float)).max() > 2**52:
        return (numbers - numbers.min()).astype(float)
    return numbers.astype(float)


def _moments(labels: np.ndarray) -> Places | None:
    if not len(labels) or np.isnat(labels).any():
        return None
    first = labels.min()
    days = _days(labels - first) if np.datetime_data(labels.dtype)[0] not in "YM" else _days(labels.astype("M8[D]") - first.astype("M8[D]"))
    return Places(days, _resolution(labels, days), first)


def _resolution(labels: np.ndarray, days: np.ndarray) -> str:
    """The longest unit of which all moments are whole multiples: ``year`` for the first days of years, ``week`` for every seventh day."""
    if (days % 1).any() or (labels != labels.astype("M8[D]")).any():
        for unit in ("hour", "minute"):
            whole = days / DAYS[unit]
            if np.abs(whole - np.round(whole)).max() < 1e-6:
                return unit
        return "second"
    if len(labels) < 2:
        return "day"
    for unit, code in (("year", "Y"), ("month", "M")):
        if (labels.astype("M8[D]") == labels.astype(f"M8[{code}]")).all():
            return unit
    return "week" if not (days % 7).any() else "day"


def _spans(labels: np.ndarray) -> Places | None:
    if not len(labels) or np.isnat(labels).any() or np.datetime_data(labels.dtype)[0] in ("Y", "M"):
        return None
    days = _days(labels)
    for unit in ("day", "hour", "minute"):
        whole = days / DAYS[unit]
        if np.abs(whole - np.round(whole)).max() < 1e-6:
            return Places(whole, unit)
    return Places(days / DAYS["second"], "second")


def _days(spans: np.ndarray) -> np.ndarray:
    """Differences of time in days, exact as far as float64 is."""
    unit, count = np.datetime_data(spans.dtype)
    ticks = {"W": 7, "D": 1, "h": 24, "m": 1440, "s": 86400, "ms": 86400e3, "us": 86400e6, "ns": 86400e9, "ps": 86400e12, "fs": 86400e15}
    numbers = spans.astype(np.int64).astype(float) * count
    if unit == "generic":
        return numbers
    return numbers * 7 if unit == "W" else numbers / ticks.get(unit, 86400e18)


def _texts(labels: np.ndarray, unit: str | None) -> Places | None:
    first = labels[0]
    if labels.dtype.kind == "O" and isinstance(first, datetime.time):
        if all(isinstance(t, datetime.time) for t in labels):
            return Places(np.array([t.hour + t.minute / 60 + (t.second + t.microsecond / 1e6) / 3600 for t in labels]), "hour")
        return None
    if labels.dtype.kind == "O" and isinstance(first, datetime.date):
        if not all(isinstance(t, datetime.date) for t in labels):
            return None
        plain = [_naive(t) for t in labels]
        return _moments(np.array(plain, dtype="M8[us]"))
    try:
        texts = [t.decode() if isinstance(t, bytes) else str(t) for t in labels]
    except UnicodeDecodeError:
        return None
    texts = [t.strip() for t in texts]
    for words, what in ((MONTHS, "month"), (WEEKDAYS, "day")):
        found = [_word(t, words) for t in texts]
        if all(number is not None for number in found):
            return Places(np.array(found, dtype=float), what)
    if ISO.fullmatch(texts[0]):
        return _iso(texts)
    if QUARTER.fullmatch(texts[0]):
        quarters = [QUARTER.fullmatch(t) for t in texts]
        months = [f"{q[1]}-{3 * int(q[2]) - 2:02d}" for q in quarters if q]
        return _moments(np.array(months, dtype="M8[M]")) if len(months) == len(texts) else None
    hours = [_hour(t) for t in texts]
    if all(hour is not None for hour in hours):
        return Places(np.array(hours, dtype=float), "hour")
    return _numbered(texts, unit)


def _naive(moment: datetime.date) -> datetime.date:
    """A moment without its time zone, as universal time."""
    if isinstance(moment, datetime.datetime) and moment.tzinfo is not None:
        return moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return moment


def _word(text: str, words: Sequence[str]) -> int | None:
    """Which of `words` a text is, in full or by its first three letters."""
    short = text.lower().rstrip(".")
    return next((n for n, word in enumerate(words) if short in (word, word[:3])), None)


def _iso(texts: list[str]) -> Places | None:
    if not all(ISO.fullmatch(t) for t in texts):
        return None
    try:
        return _moments(np.array([t.removesuffix("Z").removesuffix("+00:00") for t in texts], dtype="M8"))
    except ValueError:  # the 31st of June
        return None


def _hour(text: str) -> float | None:
    if clock := CLOCK.fullmatch(text):
        return int(clock[1]) + int(clock[2] or 0) / 60 + int(clock[3] or 0) / 3600
    if half := HALF_DAY.fullmatch(text):
        return int(half[1]) % 12 + int(half[2] or 0) / 60 + 12 * (half[3].lower() == "p")
    return None


def _numbered(texts: list[str], unit: str | None) -> Places | None:
    """Texts that differ by one number only: ``"1" "2" "10"``, ``"depth 5 m" "depth 10 m"``."""
    found = [NUMBERED.fullmatch(t) for t in texts]
    if not all(found) or len({(f[1], f[3]) for f in found if f}) > 1:
        return None
    return Places(np.array([float(f[2]) for f in found if f]), unit)


def stacked(parts: Sequence[Places]) -> np.ndarray | None:
    """Positions of the cells of modes whose labels count parts of one time, or None where they do not.

    `parts` go from the slowest to the fastest. Each must count a smaller unit than the one before, lie
    within one step of it, and fill at least a quarter of that: 24 hours in a day or 12 months in a year,
    but not the 24 hours of a mean day in a month. The result has shape ``(d_1, d_2, ...)``; it is in
    months where only years and months are counted, in days otherwise.

    >>> years, months = read(np.array([2001, 2002]), 2, "year"), read(np.array(["Jan", "Dec"]), 2)
    >>> stacked([years, months])
    array([[24012., 24023.],
           [24024., 24035.]])
    """
    if len(parts) < 2 or not all(_within(slow, fast) for slow, fast in pairwise(parts)):
        return None
    head, rest = parts[0], 1
    if head.start is None and head.unit == "year" and parts[1].unit == "month":
        first, rest = 12 * head.at[:, None] + parts[1].at - (parts[1].at.max() == 12), 2
        if len(parts) > 2:  # months are not all as long
            first = _first_day(first)
    elif head.start is None and head.unit == "year":
        first = _first_day(12 * head.at)
    else:
        first = head.at if head.start is not None else head.at * DAYS[str(head.unit)]
    place = first.reshape(first.shape + (1,) * (len(parts) - rest))
    for n in range(rest, len(parts)):
        place = place + (parts[n].at * DAYS[str(parts[n].unit)]).reshape((-1,) + (1,) * (len(parts) - 1 - n))
    return place


def _first_day(months: np.ndarray) -> np.ndarray:
    """The first days of months that are counted from the year 0, in days."""
    return (np.round(months).astype(np.int64) - 12 * 1970).astype("M8[M]").astype("M8[D]").astype(np.int64).astype(float)


def _within(slow: Places, fast: Places) -> bool:
    """Whether the slices of `fast` lie within one step of `slow` and fill it."""
    if slow.unit is None or fast.unit is None or fast.start is not None or DAYS[fast.unit] >= DAYS[slow.unit]:
        return False
    steps, parts = np.diff(np.unique(slow.at)), np.diff(np.unique(fast.at))
    if not len(steps) or not len(parts):
        return False
    step = float(steps.min()) * (1.0 if slow.start is not None else DAYS[slow.unit])
    if slow.unit in ("year", "month"):  # the longest of them; the shortest step would be a February
        step = {"year": 366.0, "month": 31.0}[slow.unit] if fast.unit != "month" else DAYS["year"]
    span, part = float(np.ptp(fast.at)) * DAYS[fast.unit], float(parts.min()) * DAYS[fast.unit]
    return span < step * (1 - 1e-9) and span + part > FILLS * step * (1 - 1e-9)
