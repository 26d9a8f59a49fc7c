"""JSON Lines: an object a row, one a line. Numbers are numbers, what is not known is null, instants are ISO 8601.

Text is ASCII, with JSON's escapes for all else, as in every JSON of perftrack's: exact, and harmless on a terminal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from sqlalchemy import Column

from perftrack.reading.queries import TimeFormat, is_instant


def rows_writer(
    stream: TextIO, columns: Sequence[Column[Any]], time_format: TimeFormat
) -> Callable[[Sequence[Any]], None]:
    """Return what writes rows of *columns* to *stream*, of a statement with that *time_format*."""
    names = [column.name for column in columns]
    instants = [
        (place, _instant_of(column, time_format)) for place, column in enumerate(columns) if is_instant(column)
    ]
    encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode

    def write(rows: Sequence[Any]) -> None:
        lines = []
        for row in rows:
            values = list(row)
            for place, shown in instants:
                if values[place] is not None:
                    values[place] = shown(values[place])
            try:
                lines.append(encode(dict(zip(names, values, strict=True))))
            except ValueError:  # JSON has no infinity
                known = [None if isinstance(each, float) and not math.isfinite(each) else each for each in values]
                lines.append(encode(dict(zip(names, known, strict=True))))
        # the one control character that JSON need not escape; it can be in a text alone
        stream.write("".join(f"{line}\n" for line in lines).replace("\x7f", "\\u007f"))

    return write


def _instant_of(column: Column[Any], time_format: TimeFormat) -> Callable[[str], str | float]:
    """Return what makes of an instant, as text in a row of that *time_format*, what JSON has of it."""
    if time_format == "utc":
        return lambda text: text
    if time_format == "epoch":
        return lambda text: float(text) if "." in text else int(text)
    zone = "" if column.name == "datetime" else "Z"
    return lambda text: f"{text.removesuffix('.000000').replace(' ', 'T')}{zone}"
