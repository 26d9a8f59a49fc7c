"""What the commands that answer share: tables, lines and bars on a screen, and rows for scripts.

rich is imported where something is printed with it: each command imports this module, and an export prints nothing.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from perftrack import figures
from perftrack.text import printable

if TYPE_CHECKING:
    from rich.text import Text

    from perftrack.reading.coverage import Coverage

# Wide enough for everything; and what a pipe gets, which a person reads as well.
_NO_SCREEN = 10_000
_PIPE = 132
# On a screen: of a text that others stand beside, and of the one that has the rest.
LONGEST_TEXT = 20
LEAST_ROOM = 10
# Fewer columns no screen has, whatever it says.
_LEAST_WIDTH = 20


def width(*, wide: bool = False) -> int:
    """Return how many columns there are: of the terminal, or COLUMNS, or of what a pipe gets. *wide*: no limit.

    Of a terminal that says it has fewer than 20, or none, so many.
    """
    if wide:
        return _NO_SCREEN
    if not _is_screen():
        return _PIPE
    from rich.console import Console

    return max(Console().width, _LEAST_WIDTH)


def _is_screen() -> bool:
    return sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: Iterable[str], *, wide: bool = False) -> None:
    """Print a table; the columns *left* are text, all others figures. The last one has the room that is left."""
    from rich.cells import cell_len
    from rich.style import Style
    from rich.text import Text

    cells = [list(header)] + [[printable(cell) for cell in row] for row in rows]
    texts = set(left)
    room = width(wide=wide)
    widths = []
    for place, name in enumerate(header):
        needed = max(cell_len(row[place]) for row in cells)
        if name in texts and room < _NO_SCREEN:
            needed = min(needed, LONGEST_TEXT if place < len(header) - 1 else max(room, LEAST_ROOM))
        widths.append(needed)
        room -= needed + 2
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") in {"dumb", "unknown"}
    bold = Style() if plain else Style(bold=True)
    for number, row in enumerate(cells):
        parts = []
        for place, (name, cell) in enumerate(zip(header, row, strict=True)):
            if name in texts:
                text = _cut(cell, widths[place])
                text.pad_right(widths[place] - text.cell_len if place < len(header) - 1 else 0)
            else:
                text = Text(cell)
                text.pad_left(widths[place] - text.cell_len)
            parts.append(text.plain)
        print((bold if number == 0 else Style()).render("  ".join(parts).rstrip()))


def sparkline(values: Sequence[float | None], full: float) -> str:
    """Return a line of bars from 0 to *full*, blank where there is no value."""
    bars = "▁▂▃▄▅▆▇█" if _can_show("▁") else "_.:-=+*#"
    return "".join(
        " " if value is None else bars[min(len(bars) - 1, int(value / full * len(bars)))] for value in values
    )


def tree_lines(is_last: Sequence[bool]) -> str:
    """Return what leads to a line of a tree, see `tree.Branch`."""
    more, last, on, nothing = "├─ ", "└─ ", "│  ", "   "
    if not _can_show(more):
        more, last, on, nothing = "|- ", "`- ", "|  ", "   "
    above = (nothing if each else on for each in is_last[:-1])
    return "".join([*above, *((last if each else more) for each in is_last[-1:])])


def line(text: str, *, wide: bool = False) -> None:
    """Print a line that comes to an end where the screen does."""
    print(_cut(printable(text), width(wide=wide)).plain)


def paragraph(text: str, *, wide: bool = False) -> None:
    """Print *text* on as many lines as it takes."""
    print(*textwrap.wrap(printable(text), width(wide=wide), break_on_hyphens=False), sep="\n")


def _cut(text: str, room: int) -> Text:
    """Return *text* with an ellipsis where it has no *room*; of one character that stdout can show."""
    from rich.text import Text

    shown = Text(text)
    if shown.cell_len > room:
        ellipsis = "…" if _can_show("…") else "~"
        shown.truncate(room - 1, overflow="crop")
        shown.append(ellipsis)
    return shown


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeError:
        return False
    return True


def entry(label: str, text: str) -> None:
    """Print *text* behind *label*, on as many lines as it takes: nothing of it is left out."""
    room = max(width(wide=not _is_screen()) - len(f"{label:<10}"), LEAST_ROOM)
    lines = textwrap.wrap(printable(text), room, break_long_words=False, break_on_hyphens=False)
    for number, part in enumerate(lines or [""]):
        print(f"{label if number == 0 else '':<10}{part}")


def short(instant: datetime | None, covered: Coverage) -> str:
    """Return an instant of a range: the time, with the day where the range is longer than one."""
    if instant is None:
        return figures.UNKNOWN
    needs_day = is_long(covered.span.since or covered.held.first, covered.until)
    return f"{instant.astimezone():{'%m-%d %H:%M' if needs_day else '%H:%M:%S'}}"


def is_long(since: datetime | None, until: datetime | None) -> bool:
    """Return whether a range is longer than a day (None: it has no such end), so that its times need their days.

    The last 24 hours are not, though it takes a moment to read them.
    """
    return since is None or until is None or until - since > timedelta(days=1, minutes=1)


def iso(instant: datetime | None) -> str | None:
    """Return an instant for scripts: ISO 8601, UTC."""
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def seconds(milliseconds: float | None) -> float | None:
    """Return milliseconds as seconds."""
    return None if milliseconds is None else milliseconds / 1000


def whole(amount: float | None) -> int | None:
    """Return an amount for scripts as a whole number: 0, not 0.0, where only a share of an interval counts."""
    return None if amount is None else round(amount)


def for_scripts(fields: Mapping[str, Any], without: Container[str] = (), *, decimals: int = 2) -> dict[str, Any]:
    """Return the *fields* of a row for scripts: ms as seconds, whole bytes, instants as `iso` has them.

    *without*: those that are not shown. *decimals*: of other figures that are not whole.
    """
    shown: dict[str, Any] = {}
    for name, value in fields.items():
        if name in without:
            continue
        if name.endswith("_ms"):
            shown[f"{name.removesuffix('_ms')}_seconds"] = seconds(value)
        elif isinstance(value, datetime):
            shown[name] = iso(value)
        elif isinstance(value, float):
            shown[name] = whole(value) if name.endswith("_bytes") else round(value, decimals)
        else:
            shown[name] = value
    return shown


def documents(of_machines: list[dict[str, Any]]) -> None:
    """Print what scripts get of each machine: one as it is, of several a list."""
    print(json.dumps(of_machines[0] if len(of_machines) == 1 else {"machines": of_machines}, indent=2))
