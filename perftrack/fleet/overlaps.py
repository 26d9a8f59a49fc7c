"""What a restored machine used while samples were taken that its database does not have any more, but the centre has.

In the same boot, its first intervals begin at the last sample that is common. What those samples, of the source that
it is forked from, show already is taken off, so that it counts once. SQL for `take`, from the tables of the centre.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Table

from perftrack.fleet.centre import CGROUP, CGROUP_SAMPLE, PROCESS, PROCESS_SAMPLE, SYSTEM_SAMPLE, type_of
from perftrack.storage.intervals import counters
from perftrack.storage.models import Base, CgroupSample, ProcessSample, SystemSample

# Times since boot are in milliseconds: what is less is none.
_LEAST_SECONDS = 0.001


def _grown(model: type[Base], table: Table) -> list[str]:
    names = {"seconds", "cpu_ms", *(each.name for each in counters(model))}
    return [each.name for each in table.columns if each.name in names]


def _taken_off(model: type[Base], table: Table, dimension: str = "", *identity: Column[Any]) -> str:
    """Return the statements for *table*. *dimension*: what its rows are of, by *identity*; empty: the machine."""
    names = _grown(model, table)
    told = [each.name for each in identity]
    keys = ["sample_id", f"{dimension}_id"] if dimension else ["sample_id"]
    key = ", ".join(f"own_row.{name}" for name in keys)
    of = f"JOIN perftrack.{dimension} AS of USING (source_id, {dimension}_id)" if dimension else ""
    own_of = f"JOIN pg_temp.stage_{dimension} AS of USING ({dimension}_id)" if dimension else ""
    kinds = {each.name: type_of(each) for each in [*table.columns, *identity]}
    shown = ", ".join([f"sample.{name}" for name in names] + [f"of.{name}" for name in told])
    record = ", ".join(f"{name} {kinds[name]}" for name in [*names, *told])
    same = "".join(f" AND gone.{name} IS NOT DISTINCT FROM of.{name}" for name in told)
    return f"""
    SELECT jsonb_agg(to_jsonb(row)) INTO _lost_rows FROM (
      SELECT boot.key, its.uptime_seconds, {shown}
      FROM perftrack.{table.name} AS sample {of}
        JOIN perftrack.system_sample AS its USING (source_id, taken_at, sample_id)
        JOIN perftrack.boot AS boot ON (boot.source_id, boot.boot_id) = (its.source_id, its.boot_id)
      WHERE sample.source_id = own.forked_from AND sample.taken_at = ANY (_lost)
        AND sample.sample_id > own.fork_position) AS row;
    UPDATE pg_temp.stage_{table.name} AS own_row
    SET {", ".join(f"{name} = {_less(name)}" for name in names)}
    FROM (
      SELECT {key}, {", ".join(f"sum(gone.{name}) AS {name}" for name in names)}
      FROM pg_temp.stage_{table.name} AS own_row {own_of}
        JOIN pg_temp.stage_system_sample AS at USING (sample_id)
        JOIN pg_temp.stage_boot AS boot ON boot.boot_id = at.boot_id
        JOIN jsonb_to_recordset(_lost_rows) AS gone (key text, uptime_seconds double precision, {record})
          ON gone.key = boot.key{same}
            AND gone.uptime_seconds <= at.uptime_seconds
            AND gone.uptime_seconds > at.uptime_seconds - own_row.seconds + {_LEAST_SECONDS}
      GROUP BY {key}) AS shown
    WHERE {" AND ".join(f"shown.{name} = own_row.{name}" for name in keys)};"""


def _less(name: str) -> str:
    """Return what is left; what is not known stays so."""
    return f"CASE WHEN own_row.{name} IS NOT NULL THEN greatest(0, own_row.{name} - coalesce(shown.{name}, 0)) END"


def taken_off() -> str:
    """Return the statements of `take` for what is staged; it declares own, _lost, _lost_until and _lost_rows."""
    tables = [
        _taken_off(SystemSample, SYSTEM_SAMPLE),
        _taken_off(ProcessSample, PROCESS_SAMPLE, "process", PROCESS.c.pid, PROCESS.c.started_ticks),
        _taken_off(CgroupSample, CGROUP_SAMPLE, "cgroup", CGROUP.c.path, CGROUP.c.inode),
    ]
    return f"""
  IF own.forked_from IS NOT NULL THEN
    SELECT array_agg(sample.taken_at), max(sample.uptime_seconds) INTO _lost, _lost_until
    FROM perftrack.system_sample AS sample
    WHERE sample.source_id = own.forked_from AND sample.sample_id > own.fork_position;
    IF EXISTS (
      SELECT 1 FROM pg_temp.stage_process_sample AS row JOIN pg_temp.stage_system_sample AS at USING (sample_id)
      WHERE at.uptime_seconds - row.seconds < _lost_until
      UNION ALL
      SELECT 1 FROM pg_temp.stage_system_sample AS at WHERE at.uptime_seconds - at.seconds < _lost_until)
    THEN{"".join(tables)}
    END IF;
  END IF;"""
