"""Every question that is asked of the database, as SQLAlchemy statements. Answers are rows, never printed here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    Table,
    TextClause,
    bindparam,
    func,
    literal_column,
    select,
    text,
    type_coerce,
)

from perftrack.storage.models import NameFilter, Process, ProcessSample, SystemSample
from perftrack.storage.views import PROCESS_LOG, PROCESS_LOG_ORIGINAL, SYSTEM_LOG, SYSTEM_LOG_ORIGINAL


class TimeRange(NamedTuple):
    """Half open: since <= taken_at < until. None: no bound on that side. Both with a zone."""

    since: datetime | None = None
    until: datetime | None = None

    def holds(self, taken_at: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
        """Return the conditions that *taken_at*, a column of UTC instants, is in this range."""
        conditions = []
        if self.since is not None:
            conditions.append(taken_at >= stored(self.since))
        if self.until is not None:
            conditions.append(taken_at < stored(self.until))
        return conditions


class Extent(NamedTuple):
    """How many samples a range holds, and the instants (UTC) of the first and the last; None: it holds none."""

    samples: int
    first: datetime | None
    last: datetime | None


def system_log(span: TimeRange, *, wide: bool, instant: str) -> Select[Any]:
    """Select the system's rows by time: the original's columns, or with *wide* all of the view.

    The column `datetime` is the view's column *instant* (datetime, local time, or taken_at, UTC). Instants are text.
    """
    order = (SYSTEM_LOG.c.taken_at, SYSTEM_LOG.c.sample_id)
    return _log(SYSTEM_LOG, SYSTEM_LOG_ORIGINAL, span, wide=wide, instant=instant).order_by(*order)


def process_log(span: TimeRange, *, wide: bool, instant: str) -> Select[Any]:
    """Select the processes' rows by time, pid and filter; otherwise as `system_log`."""
    view = PROCESS_LOG.c
    order = (view.taken_at, view.sample_id, view.pid, view.filter_rank, view.filter)
    return _log(PROCESS_LOG, PROCESS_LOG_ORIGINAL, span, wide=wide, instant=instant).order_by(*order)


def samples(span: TimeRange, *, instant: str) -> Select[Any]:
    """Select id and instant (as in `system_log`) of the samples of *span* by time."""
    table = SystemSample.__table__.c
    column = table.taken_at_local if instant == "datetime" else table.taken_at
    return select(table.id, _as_text(column)).where(*span.holds(table.taken_at)).order_by(table.taken_at, table.id)


# Which process and which filter a row is of, as one number: every column less is read faster.
_KEY_SHIFT = 20


def process_values() -> Select[Any]:
    """Select key (see `process_of`), cpu_percent, rss_bytes and vms_bytes of the rows of the sample :sample_id."""
    key = ProcessSample.process_id.bitwise_lshift(literal_column(str(_KEY_SHIFT))).bitwise_or(ProcessSample.filter_id)
    values = (ProcessSample.cpu_percent, ProcessSample.rss_bytes, ProcessSample.vms_bytes)
    return select(key, *values).where(ProcessSample.sample_id == bindparam("sample_id"))


def process_of() -> Select[int, int, str, str]:
    """Select pid, filter rank, filter text and name of what :key of `process_values` stands for."""
    key = bindparam("key", type_=Integer)
    filter_id = key.bitwise_and(literal_column(str((1 << _KEY_SHIFT) - 1)))
    return (
        select(Process.pid, NameFilter.rank, NameFilter.text, Process.name)
        .join(NameFilter, NameFilter.id == filter_id)
        .where(Process.id == key.bitwise_rshift(literal_column(str(_KEY_SHIFT))))
    )


def revision() -> TextClause:
    """Select the database's revision."""
    return text("SELECT version_num FROM alembic_version")


def extent(connection: Connection, span: TimeRange) -> Extent:
    """Return what the database holds of *span*."""
    taken_at = SystemSample.__table__.c.taken_at
    found = select(func.count(), func.min(taken_at), func.max(taken_at)).where(*span.holds(taken_at))
    samples, first, last = connection.execute(found).one()
    return Extent(samples, first and first.replace(tzinfo=UTC), last and last.replace(tzinfo=UTC))


def _log(view: Table, original: list[str], span: TimeRange, *, wide: bool, instant: str) -> Select[Any]:
    names = view.c.keys() if wide else original
    columns = [_as_text(view.c[instant if name == "datetime" else name]).label(name) for name in names]
    return select(*columns).where(*span.holds(view.c.taken_at))


def _as_text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return *column* so that an instant comes as the text that it is stored as; parsing each would cost more than
    all the rest.
    """
    return type_coerce(column, String) if column.type.python_type is datetime else column


def stored(instant: datetime) -> datetime:
    """Return *instant* as the database keeps it: UTC, without saying so."""
    return instant.astimezone(UTC).replace(tzinfo=None)
