"""The days of the centre, a partition each: made ahead, made smaller when they are old, and removed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, Table, text

from perftrack.fleet.centre import CGROUP_SAMPLE, PROCESS_SAMPLE, SAMPLES, SCHEMA
from perftrack.fleet.hours import close_hours_until

DAYS_BEFORE, DAYS_AHEAD = 2, 7
_PARTITIONS = """
SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = to_regclass(:parent)
"""
_PARTITIONED = f"SELECT relname FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind = 'p'"
_KEEP = f"""
WITH gone AS (DELETE FROM {SCHEMA}.kept RETURNING since)
INSERT INTO {SCHEMA}.kept (since) SELECT greatest(:since, (SELECT max(since) FROM gone))
"""
_ORPHANS = """
DELETE FROM perftrack.{name} AS own WHERE NOT EXISTS (SELECT 1 FROM perftrack.system_sample AS sample
  WHERE (sample.source_id, sample.boot_id) = (own.source_id, own.boot_id))
"""
_ROWS = """
SELECT child.relname
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid JOIN pg_am ON pg_am.oid = child.relam
WHERE inhparent = to_regclass(:parent) AND amname = 'heap' ORDER BY child.relname
"""


def make_partitions(connection: Connection, today: date, before: int = DAYS_BEFORE, ahead: int = DAYS_AHEAD) -> int:
    """Make the partitions of the days around *today* that are not there; return how many days' that were.

    All else, of clocks that are wrong and from before the centre was made, is in the default partition, until its day
    is made.
    """
    made = 0
    for table in _partitioned(connection):
        parent = f"{SCHEMA}.{table.name}"
        there = {row[0] for row in connection.execute(text(_PARTITIONS), {"parent": parent})}
        if f"{table.name}_default" not in there:
            connection.exec_driver_sql(f"CREATE TABLE {parent}_default PARTITION OF {parent} DEFAULT")
            _index_by_time(connection, f"{table.name}_default")
        for number in range(-before, ahead + 1):
            day = today + timedelta(days=number)
            name = f"{table.name}_{day:%Y%m%d}"
            since, until = f"{day} 00:00:00+00", f"{day + timedelta(days=1)} 00:00:00+00"
            if name in there:
                continue
            early = f"FROM {parent}_default WHERE taken_at >= '{since}' AND taken_at < '{until}'"
            are_early = connection.exec_driver_sql(f"SELECT EXISTS (SELECT 1 {early})").scalar()
            if are_early:
                connection.exec_driver_sql(f"LOCK TABLE {parent}_default IN SHARE ROW EXCLUSIVE MODE")
                connection.exec_driver_sql(f"CREATE TEMPORARY TABLE moved ON COMMIT DROP AS SELECT * {early}")
                connection.exec_driver_sql(f"DELETE {early}")
            connection.exec_driver_sql(
                f"CREATE TABLE {SCHEMA}.{name} PARTITION OF {parent} FOR VALUES FROM ('{since}') TO ('{until}')"
            )
            _index_by_time(connection, name)
            if are_early:
                connection.exec_driver_sql(f"INSERT INTO {parent} SELECT * FROM pg_temp.moved")
                connection.exec_driver_sql("DROP TABLE pg_temp.moved")
            made += 1
    return made


def _partitioned(connection: Connection) -> list[Table]:
    """Return the tables of samples, but what somebody has made otherwise: a hypertable of TimescaleDB's."""
    found = {name for (name,) in connection.exec_driver_sql(_PARTITIONED)}
    return [table for table in SAMPLES if table.name in found]


def _index_by_time(connection: Connection, name: str) -> None:
    """Let the samples of an hour be found in a day: they are stored as they come, so that a small index does.

    Not of the parent: Citus's columns have none of that kind, and need none.
    """
    connection.exec_driver_sql(f"CREATE INDEX {name}_time ON {SCHEMA}.{name} USING brin (taken_at)")


def drop_partitions(connection: Connection, before: date) -> int:
    """Remove the samples of the days before *before* when their hours are added up; return how many partitions went.

    Ships wait meanwhile, so that nothing comes between. What no sample is of any more goes with them: processes, with
    their command lines, and groups of boots that are over.
    """
    gone = 0
    since = datetime(before.year, before.month, before.day, tzinfo=UTC)
    for table in SAMPLES:
        connection.exec_driver_sql(f"LOCK TABLE {SCHEMA}.{table.name} IN SHARE ROW EXCLUSIVE MODE")
    close_hours_until(connection.connection.driver_connection, since - timedelta(hours=1))
    partitioned = _partitioned(connection)
    for table in SAMPLES:
        parent = f"{SCHEMA}.{table.name}"
        if table not in partitioned:
            connection.execute(text(f"DELETE FROM {parent} WHERE taken_at < :since"), {"since": since})
            continue
        limit = f"{table.name}_{before:%Y%m%d}"
        for (name,) in connection.execute(text(_PARTITIONS), {"parent": parent}).fetchall():
            if is_of_a_day(name) and name < limit:
                connection.exec_driver_sql(f"DROP TABLE {SCHEMA}.{name}")
                gone += 1
        connection.execute(text(f"DELETE FROM {parent}_default WHERE taken_at < :since"), {"since": since})
    for name in ("process", "cgroup"):
        connection.execute(text(_ORPHANS.format(name=name)))
    connection.execute(text(_KEEP), {"since": since})
    return gone


def make_columnar(connection: Connection, before: date) -> int:
    """Turn the rows of the days before *before* into columns, which Citus compresses; return how many partitions.

    Only where the database has that. Samples of such a day may still come; where one changes what is there, `take`
    makes it a day of rows again.
    """
    if not connection.exec_driver_sql("SELECT count(*) FROM pg_am WHERE amname = 'columnar'").scalar():
        return 0
    done = 0
    for table in (PROCESS_SAMPLE, CGROUP_SAMPLE):
        for (name,) in connection.execute(text(_ROWS), {"parent": f"{SCHEMA}.{table.name}"}).fetchall():
            if is_of_a_day(name) and name < f"{table.name}_{before:%Y%m%d}":
                connection.exec_driver_sql(f"DROP INDEX IF EXISTS {SCHEMA}.{name}_time")
                connection.execute(
                    text("SELECT alter_table_set_access_method(:name, 'columnar')"), {"name": f"{SCHEMA}.{name}"}
                )
                done += 1
    return done


def is_of_a_day(name: str) -> bool:
    """Return whether the partition *name* is that of a day, and not the default one."""
    return name[-8:].isdigit()
