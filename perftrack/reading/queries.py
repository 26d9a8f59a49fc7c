"""Ranges of time as conditions, instants as they are stored, and the statements of an export."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    Table,
    bindparam,
    func,
    literal_column,
    select,
    text,
    type_coerce,
)

from perftrack.storage.models import Boot, Host, NameFilter, Process, ProcessSample, SystemSample
from perftrack.storage.views import PROCESS_LOG, SYSTEM_LOG, SYSTEM_LOG_ORIGINAL

Instant = TypeVar("Instant", datetime, datetime | None)
# The columns of system_sample.
SAMPLES = SystemSample.__table__.c
# How an export shows an instant: the recorded machine's wall clock, ISO 8601 in UTC, or seconds since 1970.
TimeFormat = Literal["local", "utc", "epoch"]
# The condition that a row of system_sample is of the machine :host. The + keeps SQLite from finding samples by their
# boots: they are to be found by time.
OF_HOST = "+boot_id IN (SELECT boot.id FROM boot JOIN host ON host.id = host_id WHERE host.name = :host)"


class TimeRange(NamedTuple):
    """Half open: since <= taken_at < until. None: no bound on that side. Both with a zone. *hosts*: the machines that
    it is about; empty: all. *after_id*: only samples that came into the database after the one of this id; then they
    are ordered as they came. None: all, by time.
    """

    since: datetime | None = None
    until: datetime | None = None
    hosts: tuple[str, ...] = ()
    after_id: int | None = None

    @property
    def ends(self) -> tuple[datetime, datetime]:
        """Both bounds, of a range that has them."""
        assert self.since is not None
        assert self.until is not None
        return self.since, self.until

    def holds(self, columns: Any) -> list[ColumnElement[bool]]:
        """Return the conditions that a row is in this range. *columns*: of system_sample, or of a view."""
        conditions = []
        if self.since is not None:
            conditions.append(columns.taken_at >= stored(self.since))
        if self.until is not None:
            conditions.append(columns.taken_at < stored(self.until))
        if self.after_id is not None:
            conditions.append(_sample_id(columns) > self.after_id)
        if self.hosts:  # as expressions, which no index serves: samples are to be found by time
            if "host" in columns:
                conditions.append(columns.host.concat("").in_(self.hosts))
            else:
                boots = select(Boot.id).join(Host).where(Host.name.in_(self.hosts))
                conditions.append((columns.boot_id + 0).in_(boots))
        return conditions

    def order(self, columns: Any) -> tuple[ColumnElement[Any], ...]:
        """Return what its samples are ordered by."""
        by_id = _sample_id(columns)
        return (columns.taken_at, by_id) if self.after_id is None else (by_id,)


class Extent(NamedTuple):
    """How many samples were taken in a range, and the instants (UTC) of the first and the last; None: it holds none.

    *rows*: so many of them are left, where others were condensed into them. *condensed_until*: the last of these;
    None: there are none.
    """

    samples: int
    first: datetime | None
    last: datetime | None
    rows: int
    condensed_until: datetime | None


def system_log(span: TimeRange, time_format: TimeFormat, *, wide: bool = False) -> Select[Any]:
    """Select the system's rows by time: the original's columns, or with *wide* all of the view."""
    names = SYSTEM_LOG.c.keys() if wide else SYSTEM_LOG_ORIGINAL
    return _log(SYSTEM_LOG, names, span, time_format).order_by(*span.order(SYSTEM_LOG.c))


def process_log(span: TimeRange, time_format: TimeFormat) -> Select[Any]:
    """Select the processes' rows by time, pid and filter: all columns of the view."""
    view = PROCESS_LOG.c
    order = (view.pid, view.filter_rank, view.filter, view.process_id)
    return _log(PROCESS_LOG, view.keys(), span, time_format).order_by(*span.order(view), *order)


def samples(span: TimeRange, time_format: TimeFormat) -> Select[Any]:
    """Select id and instant of the samples of *span* by time."""
    instant = _instant(SAMPLES.taken_at_local, SAMPLES.taken_at, time_format)
    return select(SAMPLES.id, instant).where(*span.holds(SAMPLES)).order_by(*span.order(SAMPLES))


# Which process and which filter a row is of, as one number: every column less is read faster.
_KEY_SHIFT = 20


def process_values() -> Select[Any]:
    """Select the rows of the sample :sample_id: key (see `process_of`), cpu_percent, what CSV shows of rss_bytes, and
    vms_bytes.
    """
    key = ProcessSample.process_id.bitwise_lshift(literal_column(str(_KEY_SHIFT))).bitwise_or(ProcessSample.filter_id)
    rss = func.ifnull(ProcessSample.rss_bytes, literal_column("''"))
    values = (key, ProcessSample.cpu_percent, rss, ProcessSample.vms_bytes)
    return select(*values).where(ProcessSample.sample_id == bindparam("sample_id"))


def process_of() -> Select[int, int, str, int, str]:
    """Select what :key of `process_values` stands for: what `process_log` orders a sample by, and the name."""
    key = bindparam("key", type_=Integer)
    filter_id = key.bitwise_and(literal_column(str((1 << _KEY_SHIFT) - 1)))
    return (
        select(Process.pid, NameFilter.rank, NameFilter.text, Process.id, Process.name)
        .join(NameFilter, NameFilter.id == filter_id)
        .where(Process.id == key.bitwise_rshift(literal_column(str(_KEY_SHIFT))))
    )


def extent(connection: Connection, span: TimeRange) -> Extent:
    """Return what the database holds of *span*."""
    found = select(
        func.coalesce(func.sum(func.coalesce(SAMPLES.samples, 1)), 0),
        func.min(SAMPLES.taken_at),
        func.max(SAMPLES.taken_at),
        func.count(),
        func.max(SAMPLES.taken_at).filter(SAMPLES.samples.is_not(None)),
    ).where(*span.holds(SAMPLES))
    samples, first, last, rows, condensed = connection.execute(found).one()
    first, last, condensed = map(utc, (first, last, condensed))
    return Extent(samples, first, last, rows, condensed)


def held_at_all(connection: Connection, in_range: Extent) -> Extent:
    """Return all that the database holds, where a range of it holds nothing; else what is *in_range*: counting all
    samples of a year would take longer than exporting an hour of it.
    """
    return in_range if in_range.samples else extent(connection, TimeRange())


def _log(view: Table, names: Iterable[str], span: TimeRange, time_format: TimeFormat) -> Select[Any]:
    shown = {"datetime": _instant(view.c.datetime, view.c.taken_at, time_format)}
    if time_format != "local":  # then every instant has the form that is asked for; else they are UTC, as stored
        others = [column for column in view.c if is_instant(column) and column.name != "datetime"]
        shown |= {column.name: _instant(column, column, time_format) for column in others}
    columns = [shown.get(name, _as_text(view.c[name])).label(name) for name in names]
    return select(*columns).where(*span.holds(view.c))


def _instant(local: ColumnElement[Any], utc: ColumnElement[Any], time_format: TimeFormat) -> ColumnElement[Any]:
    """Return what CSV shows of an instant: local as `str(datetime)`, utc as ISO 8601, epoch as seconds."""
    stored = _as_text(local if time_format == "local" else utc)
    shown = func.replace(stored, ".000000", "")  # str(datetime) leaves microseconds out when they are zero
    if time_format == "utc":
        return func.replace(shown, " ", "T").concat("Z")
    if time_format == "epoch":
        return func.strftime("%s", func.substr(stored, 1, 19)).concat(func.substr(shown, 20))
    return shown


def _as_text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return *column* so that an instant comes as the text that it is stored as; parsing each would cost more than
    all the rest.
    """
    return type_coerce(column, String) if is_instant(column) else column


def is_instant(column: ColumnElement[Any]) -> bool:
    """Return whether *column* holds instants."""
    return column.type.python_type is datetime


def _sample_id(columns: Any) -> ColumnElement[int]:
    """Return the sample's id in *columns*, of system_sample or of a view."""
    return columns.sample_id if "sample_id" in columns else columns.id  # type: ignore[no-any-return]


def execute(connection: Connection, sql: str, parameters: dict[str, Any] | None = None) -> list[Any]:
    """Execute a statement that is written as SQL, and return its rows, if it has any."""
    done = connection.execute(text(sql), parameters or {})
    return list(done) if done.returns_rows else []


def stored(instant: datetime) -> datetime:
    """Return *instant* as the database keeps it: UTC, without saying so."""
    return instant.astimezone(UTC).replace(tzinfo=None)


def utc(instant: Instant) -> Instant:
    """Return *instant*, as the database keeps it, with its zone; None: it is not known."""
    return instant and instant.replace(tzinfo=UTC)


def stored_text(instant: datetime) -> str:
    """Return the same as the text that it is stored as."""
    return stored(instant).isoformat(" ", "microseconds")
