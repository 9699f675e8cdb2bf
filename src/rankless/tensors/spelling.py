"""What labels written as text stand for: numbers, dates, times of day, months, bands of age.

A mode is fitted in the order of its labels, and text sorts "10" before "9" and "Apr" before "Jan". Labels are read
here only to be put in order; they stay as they are written.

    labels  ->  readings (one, or several where it may be read in more than one way)  ->  their order, or a doubt
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMBER = r"[-+\u2212]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:\.\d+)?))?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
_ZONE = r"(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?"
_TIME = rf"(?:[T ,]+{_CLOCK}\s*{_ZONE})?"
_MONTH = r"(?P<month>[A-Za-z]{3,9})\.?"
_PIVOT = 69  # years of two digits from here on are of the last century, as POSIX has it
_MOST = 0.8  # share of labels that read as dates or times, from which those that don't are spoken of


@dataclass(frozen=True, eq=False)
class Reading:
    """Labels as numbers to sort by; `moments` are datetime64 where they are dates."""

    kind: str
    keys: np.ndarray
    moments: np.ndarray | None = None


def order(labels: np.ndarray, *, numbered: bool = True) -> np.ndarray | None:
    """The permutation that sorts labels by what they stand for; None where they are names, or it is in doubt.

    Names with a number in them, such as week 9 and week 10, are `numbered`, or names like any other.

    >>> order(np.array(["10", "9.00", "1e2"])).tolist(), order(np.array(["Apr", "Jan"])).tolist()
    ([1, 0, 2], [1, 0])
    >>> order(np.array(["Rome", "Oslo"])) is None
    True
    """
    found = readings(labels)
    if not found or not _agree(found) or (found[0].kind == "numbered" and not numbered):
        return None
    return np.argsort(found[0].keys, kind="stable")


def sorted_by_value(codes: np.ndarray, labels: np.ndarray, *, numbered: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of slices and their labels, the slices put in the order of what the labels stand for.

    >>> codes, labels = sorted_by_value(np.array([0, 1, 1]), np.array(["10", "9"]))
    >>> codes.tolist(), labels.tolist()
    ([1, 0, 0], ['9', '10'])
    """
    by_value = order(labels, numbered=numbered)
    if by_value is None:
        return codes, labels
    place = np.empty_like(by_value)
    place[by_value] = np.arange(len(by_value))
    return place[codes], labels[by_value]


def reading(labels: np.ndarray) -> Reading | None:
    """What labels stand for, where there is no doubt."""
    found = readings(labels)
    return found[0] if found and _agree(found) else None


def doubt(labels: np.ndarray, name: str) -> str | None:
    """In words, why the labels of the mode `name` could not be put in order; None where they were, or are names.

    >>> doubt(np.array(["1/2/2021", "2/1/2021"]), "day")
    "labels of day such as '1/2/2021' may have the day or the month first, so they are taken as names; write them as 2021-02-01"
    """
    found = readings(labels)
    if found and not _agree(found):
        kinds = {one.kind for one in found}
        example = next((text for text in _texts(labels) or () if re.search(r"\d[,/.-]\d", text)), str(labels[0]))
        if "dates" in kinds:
            return (
                f"labels of {name} such as {example!r} may have the day or the month first, so they are taken as names; "
                "write them as 2021-02-01"
            )
        return f"labels of {name} such as {example!r} may have a decimal comma or thousands, so they are taken as names; write 1234.5"
    return None if found else _odd_one(labels, name)


def readings(labels: np.ndarray) -> list[Reading]:
    """All ways to read the labels; none where some label is a name."""
    texts = _texts(labels)
    if texts is None or len(texts) < 2:
        return []
    for read in (_numbers, _dates, _periods, _names, _clocks, _bands, _counted):
        found = read(texts)
        if found:
            return found
    return []


def alike(labels: np.ndarray) -> list[list[int]]:
    """Slices whose labels differ by blanks or capitals only, or are one number written in several ways.

    >>> alike(np.array(["Rome", "Rome ", "Oslo"])), alike(np.array(["95", "95.0", "96"]))
    ([[0, 1]], [[0, 1]])
    """
    texts = _texts(labels)
    if texts is None:
        return []
    numbers = [float(_plain_number(text)) if re.fullmatch(_NUMBER, text) else None for text in texts]
    groups: dict[Any, list[int]] = {}
    for i, text in enumerate(map(str, labels)):
        key = numbers[i] if numbers[i] is not None and not re.match(r"[-+]?0\d", text.strip()) else " ".join(text.split()).casefold()
        groups.setdefault(key, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


# --- helpers --------------------------------------------------------------------------------------


def _texts(labels: np.ndarray) -> list[str] | None:
    """Labels without blanks around them; None unless they are texts, or texts and numbers."""
    if labels.dtype.kind not in "UOT":
        return None
    texts, some = [], False
    for label in labels.tolist():
        if isinstance(label, str):
            some = True
        elif isinstance(label, bool) or not isinstance(label, (int, float, np.number)):
            return None
        texts.append(str(label).strip())
    return texts if some else None


def _agree(found: Sequence[Reading]) -> bool:
    first = np.argsort(found[0].keys, kind="stable")
    return all((np.argsort(one.keys, kind="stable") == first).all() for one in found[1:])


def _all(texts: Sequence[Any], read: Callable[[Any], Any]) -> list[Any] | None:
    """What each is read as; None where one of them is nothing."""
    found = []
    for text in texts:
        one = read(text)
        if one is None:
            return None
        found.append(one)
    return found


def _matches(pattern: str, texts: Sequence[str]) -> list[re.Match[str]] | None:
    return _all(texts, re.compile(pattern).fullmatch)


def _plain_number(text: str) -> str:
    return text.replace("\u2212", "-")


# --- numbers --------------------------------------------------------------------------------------


def _numbers(texts: Sequence[str]) -> list[Reading]:
    if _matches(_NUMBER, texts):
        return _finite("numbers", [float(_plain_number(text)) for text in texts])
    if not any("," in text for text in texts) or not _matches(r"[-+]?\d+(?:,\d+)*(?:\.\d+)?", texts):
        return []
    found = []
    if all(text.count(",") <= 1 and "." not in text for text in texts):
        found += _finite("numbers", [float(text.replace(",", ".")) for text in texts])
    if _matches(r"[-+]?\d{1,3}(?:,\d{3})*(?:\.\d+)?", texts):
        found += _finite("numbers", [float(text.replace(",", "")) for text in texts])
    return found


def _finite(kind: str, numbers: Sequence[float]) -> list[Reading]:
    keys = np.array(numbers, dtype=float)
    return [Reading(kind, keys)] if np.isfinite(keys).all() else []


def _bands(texts: Sequence[str]) -> list[Reading]:
    """``0-4``, ``85+``, ``<5``, ``(0, 5]``: by their lower ends."""
    plain = r"\d+\.?\d*"
    pattern = (
        rf"(?P<low>{plain})\s*(?:-|\u2013|to)\s*{plain}|(?P<from>{plain})\s*\+|(?P<sign><=?|>=?|\u2264|\u2265)\s*(?P<one>{plain})"
        rf"|[(\[]\s*(?P<open>[-+]?{plain}),\s*[-+]?{plain}\s*[)\]]|(?P<alone>{plain})"
    )
    found = _matches(pattern, texts)
    if not found:
        return []
    keys = []
    for match in found:
        low = float(next(filter(None, map(match.group, ("low", "from", "one", "open", "alone")))))
        sign = match["sign"] or ""
        keys.append((low, {"<": -2, "\u2264": -1, ">": 1, "\u2265": 0}.get(sign[:1], 0)))
    rank = {key: n for n, key in enumerate(sorted(set(keys), key=lambda key: (key[0] if key[1] >= 0 else -np.inf, key)))}
    return [Reading("bands", np.array([rank[key] for key in keys], dtype=float))]


def _counted(texts: Sequence[str]) -> list[Reading]:
    """``week 9``, ``week 10``; ``5 %``, ``10 %``: the same words around a number."""
    found = _matches(r"(\D*?)(-?\d+(?:\.\d+)?)(\D*)", texts)
    if not found or len({(match[1].casefold(), match[3].casefold()) for match in found}) > 1:
        return []
    return _finite("numbered", [float(match[2]) for match in found])


# --- dates and times ------------------------------------------------------------------------------


def _dates(texts: Sequence[str]) -> list[Reading]:
    found = _matches(rf"(?P<y>\d{{4}})(?P<sep>[-/.])(?P<m>\d{{1,2}})(?:(?P=sep)(?P<d>\d{{1,2}}){_TIME})?", texts)
    if found:
        return _moments(found, [(int(f["y"]), int(f["m"]), int(f["d"] or 1)) for f in found])
    found = _matches(rf"(?P<a>\d{{1,2}})(?P<sep>[-/.])(?P<b>\d{{1,2}})(?P=sep)(?P<y>\d{{4}}|\d{{2}}){_TIME}", texts)
    if found:
        days = [(int(f["a"]), int(f["b"]), _year(f["y"])) for f in found]
        ways = [[(y, b, a) for a, b, y in days]]  # the day first
        if not all(f["sep"] == "." for f in found):  # 21.1.2021 has it first wherever it is written
            ways.append([(y, a, b) for a, b, y in days])
        read = [one for way in ways for one in _moments(found, way)]
        if not read and all(len(f["y"]) == 2 for f in found):
            read = _moments(found, [(_year(f["a"]), int(f["b"]), int(f["y"])) for f in found])
        return read
    for pattern in (
        rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[-/. ]+{_MONTH}[-/., ]+(?P<y>\d{{4}}|\d{{2}}){_TIME}",
        rf"{_MONTH}[-/. ]+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[-/., ]+(?P<y>\d{{4}}){_TIME}",
        rf"{_MONTH}[-/., ]*(?P<y>\d{{4}}|\d{{2}})(?P<d>)(?P<hour>)",
        rf"(?P<y>\d{{4}})[-/., ]*{_MONTH}(?:[-/. ]+(?P<d>\d{{1,2}}))?(?P<hour>)",
    ):
        found = _matches(pattern, texts)
        months = found and _all([f["month"] for f in found], lambda text: _place(text, _MONTHS))
        if found and months:
            days = [(_year(f["y"]), month, int(f["d"] or 1)) for f, month in zip(found, months, strict=True)]
            return _moments(found, days)  # pyright: ignore[reportArgumentType]
    return []


def _year(text: str) -> int:
    return int(text) if len(text) > 2 else int(text) + (1900 if int(text) >= _PIVOT else 2000)


def _moments(found: Sequence[re.Match[str]], days: Sequence[tuple[int, int, int]]) -> list[Reading]:
    """Days with the times beside them; none where a month or day cannot be."""
    if not all(1 <= m <= 12 and 1 <= d <= 31 and y for y, m, d in days):
        return []
    seconds = _all(found, lambda match: _seconds(match) if match["hour"] else 0.0)
    if seconds is None:
        return []
    try:
        whole = [datetime(*day).toordinal() for day in days]
    except ValueError:  # the 30th of February: of a calendar in which every month has 30 days, or no date
        return [Reading("dates", np.array([((y * 12 + m) * 31 + d) * 86400.0 + s for (y, m, d), s in zip(days, seconds, strict=True)]))]
    keys = np.array([day * 86400.0 + second for day, second in zip(whole, seconds, strict=True)])
    epoch = datetime(1970, 1, 1).toordinal() * 86400.0
    moments = np.datetime64(0, "s") + np.rint((keys - epoch) * 1e6).astype("timedelta64[us]")
    return [Reading("dates", keys, moments)]


def _seconds(match: re.Match[str]) -> float | None:
    """Seconds since midnight, less the zone; None for no time of day."""
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    parts = match.groupdict()
    half = (parts.get("half") or "").lower()[:1]
    if (half and not 1 <= hour <= 12) or hour > 24 or minute > 59:
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    zone = parts.get("zone")
    offset = 0 if zone in (None, "Z", "UTC") else int(f"{zone[0]}1") * (int(zone[1:3]) * 3600 + int(zone[-2:]) * 60)
    return hour * 3600.0 + minute * 60.0 + float(parts.get("second") or 0.0) - offset


def _periods(texts: Sequence[str]) -> list[Reading]:
    """``1975M10``, ``2020-Q3``, ``Q3 2020``, ``2020W05``, ``10/1975``."""
    found = _matches(r"(?P<y>\d{4})\s*[-_: ]?\s*(?P<part>[MQWHSmqwhs])\s*(?P<n>\d{1,2})", texts) or _matches(
        r"(?P<part>[MQWHSmqwhs])\s*(?P<n>\d{1,2})[-/_, ]*(?P<y>\d{4})", texts
    )
    if found:
        if len({match["part"].upper() for match in found}) > 1:
            return []
        return [Reading("periods", np.array([int(match["y"]) * 100.0 + int(match["n"]) for match in found]))]
    found = _matches(r"(?P<n>\d{1,2})[-/.](?P<y>\d{4})", texts)
    if found and all(1 <= int(match["n"]) <= 12 for match in found):
        return [Reading("periods", np.array([int(match["y"]) * 100.0 + int(match["n"]) for match in found]))]
    return []


def _names(texts: Sequence[str]) -> list[Reading]:
    """Months and days of the week, alone or a month with its day: ``Jan``, ``Mon``, ``21-Jan``, ``Jan 21``."""
    for names, kind in ((_MONTHS, "months"), (_DAYS, "days of the week")):
        places = _all(texts, lambda text, names=names: _place(text.rstrip("."), names))
        if places:
            return [Reading(kind, np.array(places, dtype=float))]
    found = _matches(rf"(?P<d>\d{{1,2}})[-/. ]+{_MONTH}", texts) or _matches(rf"{_MONTH}[-/. ]+(?P<d>\d{{1,2}})", texts)
    months = found and _all([match["month"] for match in found], lambda text: _place(text, _MONTHS))
    if found and months:
        days = [float(month) * 31.0 + int(match["d"]) for month, match in zip(months, found, strict=True)]  # pyright: ignore[reportArgumentType]
        return [Reading("days of the year", np.array(days))]
    return []


def _place(text: str, names: Sequence[str]) -> int | None:
    """The number, from 1, of a month or day by its name or its first three or four letters."""
    text = text.casefold()
    for number, name in enumerate(names, 1):
        if text == name or (3 <= len(text) <= 5 and name.startswith(text)):
            return number
    return None


def _clocks(texts: Sequence[str]) -> list[Reading]:
    """Times of day, and spans of days and hours as pandas writes them."""
    found = _matches(_CLOCK, texts) or _matches(r"(?P<hour>\d{1,2})\s*(?P<half>[AaPp]\.?[Mm]\.?)(?P<minute>)", texts)
    found = found or _matches(r"(?P<hour>\d{1,2})\s*[hH]\s*(?P<minute>\d{2})?", texts)
    if found:
        seconds = [_seconds(match) for match in found]
        return [] if any(second is None for second in seconds) else [Reading("times", np.array(seconds, dtype=float))]
    found = _matches(r"(?P<days>-?\d+) days?(?: \+?(?P<hour>\d{1,2}):(?P<minute>\d{2}):(?P<second>\d{2}(?:\.\d+)?))?", texts)
    if found:
        return [
            Reading("spans", np.array([int(match["days"]) * 86400.0 + ((match["hour"] and _seconds(match)) or 0.0) for match in found]))
        ]
    return []


def _odd_one(labels: np.ndarray, name: str) -> str | None:
    """A few labels among dates, times or months that are none."""
    texts = _texts(labels)
    if texts is None or len(texts) < 5:
        return None
    shapes: dict[str, list[str]] = {}
    for text in texts[:1000]:
        shapes.setdefault(_shape(text), []).append(text)
    shape = max(shapes, key=lambda shape: len(shapes[shape]))
    usual = shapes[shape]
    if shape == "" or not _MOST * min(len(texts), 1000) <= len(usual) < min(len(texts), 1000):
        return None
    read = next((found for parse in (_dates, _periods, _names, _clocks) if (found := parse(usual))), None)
    if read is None:
        return None
    odd = next(text for text in texts if _shape(text) != shape)
    return (
        f"label {odd!r} of {name} is not one of the {read[0].kind} that the others are, such as {usual[0]!r}, so all are taken as names; "
        "drop it, or write it as they are"
    )


def _shape(text: str) -> str:
    """What a text looks like: its digits and letters as one of each kind; months and days of the week by what they are."""
    if _place(text.rstrip("."), _MONTHS):
        return "month"
    if _place(text.rstrip("."), _DAYS):
        return "weekday"
    return re.sub(r"[A-Za-z]+", "a", re.sub(r"\d+", "0", text)) if re.search(r"\d", text) else ""
