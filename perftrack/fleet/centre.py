"""The tables of the centre, made from the models and the interval views: the key of the source before every other.

Samples arrive as intervals, so that what is asked of a fleet is a plain sum. The owner's side: an agent that ships
does not import this.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import REAL, TIMESTAMP

from perftrack.storage.intervals import CGROUP_INTERVAL, PROCESS_INTERVAL, SYSTEM_INTERVAL
from perftrack.storage.models import (
    Base,
    Boot,
    Cgroup,
    CgroupSample,
    NameFilter,
    Process,
    ProcessSample,
    Recorder,
    SystemSample,
    columns_of,
)
from perftrack.storage.views import is_link

SCHEMA = "perftrack"
metadata = MetaData(schema=SCHEMA, naming_convention={"ix": "ix_%(table_name)s_%(column_0_name)s"})

# What the tables of processes and groups tell, and what a sum by time does not need.
_ELSEWHERE = {"datetime", "host", "booted_at", "pid", "name", "username", "command", "unit", "path", "parent_id"}
_ELSEWHERE |= {"previous_sample_id", "previous_taken_at", "sample_seconds"}
# Times that are added up stay exact, and rates of many bytes; of all else, seven digits are enough.
_EXACT = ("seconds", "_seconds", "_per_second")


def _kind(column: Column[Any]) -> Any:
    """Return the type in PostgreSQL of a *column* of SQLite."""
    if isinstance(column.type, DateTime):
        return DateTime(timezone=True)
    if isinstance(column.type, Float):
        return Double() if column.name.endswith(_EXACT) else REAL()
    return BigInteger() if isinstance(column.type, Integer) else Text()


def _copied(columns: Iterable[Column[Any]], without: Iterable[str] = ()) -> list[Column[Any]]:
    """Return *columns* for a table of the centre, each name once, NULL where they may be."""
    found = {each.name: Column(each.name, _kind(each), nullable=each.nullable, comment=each.doc) for each in columns}
    return [each for name, each in found.items() if name not in set(without)]


def _source() -> Column[Any]:
    return Column("source_id", BigInteger, nullable=False, comment="Whose: source.id.")


def _key(name: str, kind: Any, doc: str) -> Column[Any]:
    return Column(name, kind, nullable=False, comment=doc)


SOURCE = Table(
    "source",
    metadata,
    Column("id", BigInteger, primary_key=True, comment="Key."),
    Column("uuid", Uuid, nullable=False, unique=True, comment="That of the database, or made from it where forked."),
    Column("role", Text, nullable=False, comment="The login role that it belongs to."),
    Column("machine", Text, comment="The machine-id, hashed. NULL: not known."),
    Column("host", Text, comment="What the machine is called, at its last ship."),
    Column("version", Text, comment="The version of perftrack that shipped last."),
    Column("position", BigInteger, nullable=False, server_default=text("0"), comment="The last sample that is here."),
    Column("fingerprint", Uuid, comment="What identifies that sample. NULL: there is none."),
    Column("taken_at", DateTime(timezone=True), comment="When that was taken, by the machine's clock."),
    Column("received_at", DateTime(timezone=True), comment="When that came. NULL: nothing came yet."),
    Column("seen_at", DateTime(timezone=True), comment="When it shipped last, also where nothing was new."),
    Column("skew_seconds", Double, comment="How far this clock is before the machine's, the way included."),
    Column("unpacked_at", DateTime(timezone=True), comment="When columns were made rows again for it. NULL: never."),
    Column("forked_from", BigInteger, comment="The source whose samples up to fork_position are its own too."),
    Column("fork_position", BigInteger, comment="The last sample that both have."),
    Index("ix_source_forked_from", "forked_from"),
    comment="One database's history.",
)


def _dimension(name: str, key: str, model: type[Base], *further: Column[Any], without: Iterable[str] = ()) -> Table:
    """Make the table of what samples refer to: the columns of *model* but its links, but that to its boot."""
    own = [each for each in columns_of(model) if each.name == "boot_id" or not (each.primary_key or is_link(each))]
    about = [*further, *_copied(own, without)]
    keys = PrimaryKeyConstraint("source_id", key, name=f"pk_{name}")
    doc = (model.__doc__ or "").partition("\n")[0]
    return Table(
        name, metadata, _source(), _key(key, BigInteger, f"The id there: {name}.id."), *about, keys, comment=doc
    )


_host = Column("host", Text, nullable=False, comment="Host name, as `hostname` prints it.")
_unit = Column("unit", Text, comment="What its control group belongs to: a systemd unit, a container, a session.")
_of_cgroup: list[Column[Any]] = [
    Column("parent_id", BigInteger, comment="The recorded group that it is in: cgroup.cgroup_id."),
    Column("latest_sample_id", BigInteger, comment="The sample of its newest row in cgroup_sample."),
    Column("latest_taken_at", DateTime(timezone=True), comment="When that was taken."),
    Column("gone_sample_id", BigInteger, comment="The first sample that did not see it any more. NULL: it is there."),
]
BOOT = _dimension("boot", "boot_id", Boot, _host, without=["boot_id"])
PROCESS = _dimension("process", "process_id", Process, _unit)
CGROUP = _dimension("cgroup", "cgroup_id", Cgroup, *_of_cgroup)
DIMENSIONS = [
    BOOT,
    PROCESS,
    CGROUP,
    _dimension("name_filter", "filter_id", NameFilter),
    _dimension("recorder", "recorder_id", Recorder),
]
# What may change of a row that is there.
CHANGING = {"boot": ["host"], "cgroup": ["latest_sample_id", "latest_taken_at", "gone_sample_id"]}


def _samples(name: str, keys: list[Column[Any]], columns: list[Column[Any]], *further: Any, doc: str) -> Table:
    """Make a table of samples, with a partition a day."""
    taken_at = _key("taken_at", DateTime(timezone=True), "When the values were read, by the machine's clock.")
    key = PrimaryKeyConstraint("source_id", "taken_at", *(each.name for each in keys), name=f"pk_{name}")
    used = {"taken_at", *(each.name for each in keys)}
    # those of eight bytes first: PostgreSQL fills up what is between
    rest = sorted((each for each in columns if each.name not in used), key=lambda each: isinstance(each.type, REAL))
    return Table(
        name,
        metadata,
        *(_source(), taken_at, *keys, *rest, *further, key),
        comment=doc,
        postgresql_partition_by="RANGE (taken_at)",
    )


# cpu_percent is that of the interval; a CSV file of the original's has that of the window.
def _window_cpu_percent() -> Column[Any]:
    return Column("window_cpu_percent", REAL, comment="cpu_percent of the sample: in its window. NULL: not known.")


def _sample_id() -> Column[Any]:
    return _key("sample_id", BigInteger, "The sample: system_sample.sample_id.")


_system_only = [each for each in columns_of(SystemSample) if not (each.primary_key or is_link(each))]
SYSTEM_SAMPLE = _samples(
    "system_sample",
    [_sample_id()],
    [
        Column("boot_id", BigInteger, nullable=False, comment="The run of the kernel: boot.boot_id."),
        Column("recorder_id", BigInteger, comment="Who took it: recorder.recorder_id. NULL: not noted."),
        _window_cpu_percent(),
        *_copied([*SYSTEM_INTERVAL.columns, *_system_only], {*_ELSEWHERE, "taken_at_local"}),
        _key("taken_at_local", TIMESTAMP(timezone=False), "The same as the machine's wall clock showed it."),
        Column("fingerprint", Uuid, nullable=False, comment="A hash of what identifies the sample."),
        Column(
            "received_at",
            DateTime(timezone=True),
            nullable=False,
            server_default=text("clock_timestamp()"),
            comment="When it came.",
        ),
    ],
    Index("ix_system_sample_sample_id", "source_id", "sample_id"),
    Index("ix_system_sample_boot_id", "source_id", "boot_id", "uptime_seconds"),
    doc="The machine from one sample to the next of the same boot. Counters are what they grew by.",
)
PROCESS_SAMPLE = _samples(
    "process_sample",
    [_key("process_id", BigInteger, "The process: process.process_id.")],
    [
        _sample_id(),
        _key("filter_id", BigInteger, "Why it was recorded: name_filter.filter_id."),
        _window_cpu_percent(),
        Column(
            "all_cpu_ms",
            BigInteger,
            comment="Counter: CPU time since it began, with its ended children's, as far as known. NULL: not known.",
        ),
        *_copied(PROCESS_INTERVAL.columns, {*_ELSEWHERE, "sample_id"}),
    ],
    doc=PROCESS_INTERVAL.comment or ProcessSample.__doc__ or "",
)
CGROUP_SAMPLE = _samples(
    "cgroup_sample",
    [_key("cgroup_id", BigInteger, "The group: cgroup.cgroup_id.")],
    [_sample_id(), *_copied(CGROUP_INTERVAL.columns, {*_ELSEWHERE, "sample_id"})],
    doc=CGROUP_INTERVAL.comment or CgroupSample.__doc__ or "",
)
SAMPLES = [SYSTEM_SAMPLE, PROCESS_SAMPLE, CGROUP_SAMPLE]

# What a sum by hour has of each kind of samples: totals, and largest values.
TOTALS = {
    "system": ("samples", "seconds", "cpu_ms", "cpu_possible_ms", "disk_read_bytes", "disk_write_bytes"),
    "process": ("cpu_ms", "read_bytes", "write_bytes"),
    "unit": ("cpu_ms", "read_bytes", "write_bytes", "oom_kills"),
}
TOTALS["system"] += ("net_received_bytes", "net_sent_bytes")
PEAKS = {
    "system": ("cpu_percent_max", "mem_used_max_bytes", "load_1min_max"),
    "process": ("cpu_percent_max", "rss_max_bytes", "num_threads_max"),
    "unit": ("memory_max_bytes", "tasks_max"),
}


def _hours(kind: str, keys: list[Column[Any]], doc: str) -> Table:
    """Make a table of sums by hour, which are kept when samples are not any more."""
    hour = _key("hour", DateTime(timezone=True), "When it began. An interval is of the hour in which it ended.")
    totals = [Column(name, Double, comment="All of it in the hour. NULL: not known.") for name in TOTALS[kind]]
    peaks = [Column(name, Double, comment="The largest in a sample. NULL: not known.") for name in PEAKS[kind]]
    key = PrimaryKeyConstraint("source_id", "hour", *(each.name for each in keys), name=f"pk_{kind}_hour")
    return Table(f"{kind}_hour", metadata, _source(), hour, *keys, *totals, *peaks, key, comment=doc)


HOURS = {
    "system": _hours(
        "system", [_key("boot_id", BigInteger, "The run of the kernel: boot.boot_id.")], "The machine in an hour."
    ),
    "process": _hours(
        "process",
        [_key("name", Text, "Their name."), _key("unit", Text, "Their unit. Empty: not known.")],
        "All processes of a name and a unit in an hour.",
    ),
    "unit": _hours("unit", [_key("unit", Text, "Its name.")], "A unit in an hour, without other units in it."),
}
OPEN_HOUR = Table(
    "open_hour",
    metadata,
    _source(),
    _key("hour", DateTime(timezone=True), "When it began."),
    Column("changed_at", DateTime(timezone=True), nullable=False, comment="When samples of it came last."),
    PrimaryKeyConstraint("source_id", "hour", name="pk_open_hour"),
    comment="Hours of which samples came that are not in the sums yet.",
)
KEPT = Table(
    "kept",
    metadata,
    Column("since", DateTime(timezone=True), nullable=False, comment="From when on samples are kept: before, hours."),
    comment="How far back samples go: one row, or none where all are kept.",
)
DISTRIBUTED = [*DIMENSIONS, *SAMPLES, *HOURS.values(), OPEN_HOUR]


def type_of(column: Column[Any]) -> str:
    """Return the type of *column* as SQL."""
    return column.type.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]


def staged(table: Table) -> list[Column[Any]]:
    """Return the columns of *table* that an agent ships."""
    return [each for each in table.columns if each.name not in {"source_id", "received_at"}]
